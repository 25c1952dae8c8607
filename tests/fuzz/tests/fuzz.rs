//! No parser is brought down by whatever bytes, for a moment each; `cargo fuzz-parsers --seconds 60` takes its time. And: what would bring one
//! down is found.

use std::time::Duration;

use baton_fuzz::{
    hunt::{feed, hunt},
    target::{self, Target},
};

/// Seconds for each parser.
fn time() -> Duration {
    let seconds = std::env::var("BATON_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(0.5))
}

#[test]
fn no_parser_is_brought_down_by_whatever_bytes() {
    let seed = std::env::var("BATON_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_26_11);
    for target in target::all() {
        match hunt(target, seed, time(), None) {
            Ok(figures) => {
                eprintln!("{}: {figures}", target.name);
                assert!(figures.cases > 0 && figures.shapes > 1, "{} answers everything alike: {figures}", target.name);
            }
            Err(find) => {
                panic!("{} (seed {seed}): {}: {:?}", target.name, find.what, String::from_utf8_lossy(&find.case))
            }
        }
    }
}

/// What stands in the repository is parsed for what it is: a target whose every real file is refused tries nothing but refusals.
#[test]
fn what_is_real_is_understood() {
    for target in target::all() {
        let corpus = (target.corpus)();
        assert!(!corpus.is_empty(), "{} begins with nothing", target.name);
        for case in &corpus {
            feed(target, case).unwrap_or_else(|find| panic!("{}: {}", target.name, find.what));
        }
    }
}

fn seeded() -> Vec<Vec<u8>> {
    vec![b"alpha: 1\nbeta: [2, 3]\n".to_vec()]
}

#[test]
fn a_parser_that_breaks_is_found_and_so_is_one_that_takes_too_long() {
    let breaks = Target {
        name: "breaks",
        what: "",
        corpus: seeded,
        feed: |case| {
            assert!(!case.windows(2).any(|two| two == b"[["), "two brackets");
            0
        },
    };
    let find = hunt(&breaks, 1, Duration::from_secs(20), None).expect_err("found");
    assert!(find.what.contains("two brackets"), "{}", find.what);
    assert!(feed(&breaks, &find.case).is_err(), "the case does it again");
    assert!(feed(&breaks, b"[ [").is_ok());

    let slow = Target {
        name: "slow",
        what: "",
        corpus: seeded,
        feed: |case| {
            let mut sum = 1_u64;
            while case.len() > 24 && sum != 0 {
                sum = sum.wrapping_mul(3) | 1;
                if rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec % 1000 > 3 {
                    break;
                }
            }
            sum
        },
    };
    let find = hunt(&slow, 1, Duration::from_secs(30), None).expect_err("found");
    assert!(find.what.contains("of the processor's time"), "{}", find.what);
}
