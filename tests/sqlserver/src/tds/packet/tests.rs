use super::*;

fn packet(kind: u8, status: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + HEADER).unwrap().to_be_bytes();
    [&[kind, status, length[0], length[1], 0, 0, 1, 0], body].concat()
}

#[test]
fn a_packet_is_taken_when_it_is_whole_and_not_before() {
    let whole = packet(0x01, 1, b"abc");
    for length in 0..whole.len() {
        let mut received = BytesMut::from(&whole[..length]);
        assert_eq!(split(&mut received), Ok(None), "{length}");
        assert_eq!(received.len(), length);
    }
    let mut received = BytesMut::from([whole.as_slice(), &[0x06]].concat().as_slice());
    let taken = split(&mut received).unwrap().unwrap();
    assert_eq!((taken.kind, &taken.body[..], &received[..]), (Kind::Batch, &b"abc"[..], &[0x06][..]));
}

#[test]
fn a_header_that_means_nothing_is_refused_at_once() {
    for header in [[0x00, 1, 0, 9, 0, 0, 1, 0], [0x16, 3, 1, 0, 0, 0, 1, 0], [0x01, 1, 0, 7, 0, 0, 1, 0]] {
        assert!(split(&mut BytesMut::from(&header[..])).is_err(), "{header:?}");
    }
}

fn add(assembly: &mut Assembly, kind: u8, status: u8, body: &[u8]) -> Result<Option<Message>, AssemblyError> {
    let packet = split(&mut BytesMut::from(packet(kind, status, body).as_slice())).unwrap().unwrap();
    assembly.add(packet)
}

#[test]
fn packets_make_messages() {
    let mut assembly = Assembly::new(8);
    assert_eq!(add(&mut assembly, 0x01, 0x08, b"abc"), Ok(None));
    let whole = add(&mut assembly, 0x01, 1, b"de").unwrap().unwrap();
    assert_eq!((whole.kind, whole.reset, &whole.body[..]), (Kind::Batch, true, &b"abcde"[..]));
    // Another message in the middle of one.
    assert_eq!(add(&mut assembly, 0x01, 0, b"abc"), Ok(None));
    assert_eq!(add(&mut assembly, 0x03, 1, b"de"), Err(Malformed("message").into()));
    // More than is kept.
    assert_eq!(add(&mut assembly, 0x01, 0, b"abcde"), Ok(None));
    assert_eq!(add(&mut assembly, 0x01, 1, b"fghi"), Err(AssemblyError::TooLong { limit: 8 }));
    // Taken back.
    assert_eq!(add(&mut assembly, 0x01, 0, b"abc"), Ok(None));
    assert_eq!(add(&mut assembly, 0x01, 3, b""), Ok(None));
    let after = add(&mut assembly, 0x01, 1, b"x").unwrap().unwrap();
    assert_eq!(&after.body[..], b"x");
}

/// Length and status of each packet.
fn shape(mut packets: BytesMut) -> Vec<(usize, u8)> {
    let mut shape = Vec::new();
    while let Some(packet) = split(&mut packets).unwrap() {
        shape.push((packet.body.len() + HEADER, packet.status));
    }
    assert!(packets.is_empty());
    shape
}

#[test]
fn messages_are_cut_into_packets_of_which_the_last_says_so() {
    for (length, expected) in [
        (0, vec![(8, 1)]),
        (1, vec![(9, 1)]),
        (504, vec![(512, 1)]),
        (505, vec![(512, 0), (9, 1)]),
        (1008, vec![(512, 0), (512, 1)]),
    ] {
        let mut outbox = Outbox::new(Kind::Reply, 512);
        outbox.body.put_bytes(7, length);
        assert_eq!(shape(outbox.end()), expected, "{length}");
    }
}

#[test]
fn what_is_sent_early_is_no_end() {
    let mut outbox = Outbox::new(Kind::Reply, 512);
    outbox.body.put_bytes(7, 600);
    assert_eq!(shape(outbox.full()), [(512, 0)]);
    assert_eq!(shape(outbox.so_far()), [(104, 0)]);
    assert_eq!(shape(outbox.so_far()), []);
    assert_eq!(shape(outbox.end()), [(8, 1)]);
}
