use baton_exploration::{exploration::explore, orders::*};
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let g = |n: usize| a.get(n).copied().unwrap_or(0);
    let switch = [Switch::Whole, Switch::NoFenceCheck, Switch::DispatchBeforeCommit, Switch::MarksNotPersisted, Switch::TasksNotPersisted, Switch::ReignNotAnnounced, Switch::RaiseAnsweredAtOnce][g(0) as usize];
    let e = Extent { switch, actions: if g(1) == 0 { Actions::Observed } else { Actions::Blind }, terms: g(2), twin: g(3) == 1, runs: g(4), budget: Budget { faults: g(5) as u8, cuts: g(6) as u8, words: g(7) as u8, expiries: g(8) as u8 } };
    println!("{e:?}\n{}", explore(Orders::new(e), 1));
}
