//! Real sockets and programs.

use std::time::Duration;

use baton_model::outcome::Observation;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::action::Failure;
use crate::action::trial::{Trial, action, wait_for};

const LONG: Duration = Duration::from_secs(20);

async fn free_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_port_is_waited_for_and_progress_says_what_was_seen() {
    let trial = Trial::new();
    let (listener, port) = free_port().await;
    drop(listener);
    let wait = action("wait.tcp", json!({ "host": "127.0.0.1", "port": port, "every": "20ms" }));
    let (context, mut notes) = trial.context_with_notes("1", LONG);
    assert!(matches!(wait.observe(&context).await.unwrap(), Observation::Differs { .. }));
    let (effect, _listener) = tokio::join!(wait.act(&context), async {
        let note = notes.recv().await.unwrap();
        assert_eq!(note.note, format!("127.0.0.1:{port} refuses"));
        TcpListener::bind(("127.0.0.1", port)).await.unwrap()
    });
    assert_eq!(effect.unwrap().summary, format!("127.0.0.1:{port} answers"));
}

#[tokio::test]
async fn a_port_is_waited_for_until_it_refuses() {
    let trial = Trial::new();
    let (listener, port) = free_port().await;
    let wait = action("wait.tcp", json!({ "host": "127.0.0.1", "port": port, "closed": true, "every": "20ms" }));
    let (context, mut notes) = trial.context_with_notes("1", LONG);
    let (effect, ()) = tokio::join!(wait.act(&context), async {
        assert!(notes.recv().await.unwrap().note.ends_with("answers"));
        drop(listener);
    });
    assert!(effect.unwrap().summary.ends_with("refuses"));
}

#[tokio::test]
async fn at_the_deadline_the_fault_says_what_was_last_seen() {
    let trial = Trial::new();
    let script = trial.script("never", "echo not today; exit 7");
    let wait = action("wait.until", json!({ "argv": [script], "every": "20ms" }));
    let failure = wait.act(&trial.context("1", Duration::from_millis(400))).await.unwrap_err();
    let Failure::Failed(fault) = failure else { panic!("{failure}") };
    assert_eq!(fault.code, "BTN-0541");
    assert!(fault.message.contains("exit code 7, \"not today\""), "{fault}");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_at_the_deadline_and_what_was_seen_before_is_told() {
    let trial = Trial::new();
    let script = trial.script("once", "d=${0%/*}; if [ -e $d/been ]; then exec sleep 1000; fi; touch $d/been; exit 9");
    let wait = action("wait.until", json!({ "argv": [script], "every": "20ms" }));
    let failure = wait.act(&trial.context("1", Duration::from_millis(800))).await.unwrap_err();
    assert!(failure.to_string().contains("exit code 9"), "{failure}");
}

#[tokio::test]
async fn a_page_is_waited_for_by_status_and_text() {
    let trial = Trial::new();
    let (listener, port) = free_port().await;
    let server = tokio::spawn(async move {
        let answers = [
            "503 Busy\r\nContent-Length: 0\r\n\r\n",
            "200 OK\r\nContent-Length: 8\r\n\r\nstarting",
            "200 OK\r\n\r\nall up",
        ];
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            assert!(
                request.starts_with("GET /ready?x=1 HTTP/1.1\r\n")
                    && request.contains(&format!("Host: 127.0.0.1:{port}\r\n"))
            );
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
        }
    });
    let wait = action(
        "wait.http",
        json!({ "url": format!("http://127.0.0.1:{port}/ready?x=1"), "body_contains": "up", "every": "20ms" }),
    );
    let (context, mut notes) = trial.context_with_notes("1", LONG);
    assert!(wait.act(&context).await.unwrap().summary.ends_with("answers with status 200"));
    assert!(notes.recv().await.unwrap().note.ends_with("answers with status 503, not 200"));
    assert!(notes.recv().await.unwrap().note.ends_with("without \"up\""));
    server.await.unwrap();
}

#[tokio::test]
async fn a_wait_that_is_cancelled_ends_at_once() {
    let trial = Trial::new();
    let wait = action("wait.until", json!({ "argv": [trial.script("never", "touch $0.ran; exit 1")], "every": "1h" }));
    let context = trial.context("1", Duration::from_secs(3600));
    let (failure, ()) = tokio::join!(wait.act(&context), async {
        wait_for(|| trial.path("never.ran").exists()).await;
        trial.cancel.cancel();
    });
    assert!(matches!(failure.unwrap_err(), Failure::Failed(_)));
}
