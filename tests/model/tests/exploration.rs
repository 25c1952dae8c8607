//! The product's rules hold in every state of a small world; without any one of its safeguards they do not, and the explorer says how.

use baton_exploration::{
    exploration::Exploration,
    extents::{self, Extent, LEASE, ORDERS},
    lease, orders,
    orders::Actions,
};

/// Complete, sound, and not because nothing happens in it.
fn holds(name: &str, unreached: &[&str]) {
    let named = extents::all().into_iter().find(|one| one.name == name).expect("it is one of all");
    let exploration = named.extent.explore();
    println!("{name}: {exploration}");
    assert!(exploration.violations.is_empty(), "{exploration}");
    assert!(exploration.complete && exploration.states > exploration.unique_states, "{exploration}");
    assert_eq!(exploration.unreached, unreached, "{exploration}");
}

fn breaks(extent: Extent, rules: &[&str]) {
    let exploration: Exploration = extent.explore();
    println!("{exploration}");
    assert!(!exploration.complete, "nothing was found: {exploration}");
    let broken: Vec<&str> = exploration.violations.keys().copied().collect();
    assert!(broken.iter().any(|rule| rules.contains(rule)), "{exploration}");
}

const NO_ABORT: &str = "an abort ends, with all undone";
const NO_DEPOSED: &str = "a deposed leader's order is on its way to who obeys another";

#[test]
fn an_operators_word_and_a_new_leader_leave_nothing_stale_to_act() {
    holds("orders-word", &[]);
}

#[test]
fn what_crashed_or_was_given_up_acts_at_most_once() {
    holds("orders-doubt", &[NO_ABORT]);
}

#[test]
fn what_was_given_up_and_is_retried_never_acts_beside_its_next_attempt() {
    holds("orders-retry", &[NO_DEPOSED]);
}

#[test]
fn what_is_left_out_was_never_ordered_by_any_leader() {
    holds("orders-left-out", &[NO_ABORT]);
}

#[test]
fn late_orders_of_the_run_before_do_nothing_in_the_next() {
    holds("orders-twice", &[NO_ABORT]);
}

#[test]
fn of_two_that_claim_one_reign_a_host_obeys_one() {
    holds("orders-twin", &[NO_ABORT]);
}

#[test]
fn two_deposed_leaders_beside_the_third_do_no_harm() {
    holds("orders-leaders", &[NO_ABORT]);
}

#[test]
fn the_role_leaves_a_silent_primary_only_when_it_serves_no_more() {
    holds("lease-silence", &[]);
}

#[test]
fn an_agent_that_dies_and_comes_back_serves_no_longer_than_is_waited_for() {
    holds("lease-death", &[]);
}

const BELOW: &str = "nothing acts below a fence that was acknowledged";
const TWICE: &str = "a task has its effect at most once";
const BOTH: &str = "at most one host serves";
const LEASES: &str = "at most one host holds a lease";

fn without(switch: orders::Switch) -> orders::Extent {
    let budget = orders::Budget { faults: 1, words: 1, ..ORDERS.budget };
    orders::Extent { switch, actions: Actions::Blind, budget, ..ORDERS }
}

#[test]
fn without_the_check_of_the_fence_a_stale_order_acts() {
    breaks(Extent::Orders(without(orders::Switch::NoFenceCheck)), &[BELOW]);
}

#[test]
fn an_order_before_its_entry_is_committed_has_no_authority() {
    let rule = "nothing begins without committed authority";
    breaks(Extent::Orders(without(orders::Switch::DispatchBeforeCommit)), &[rule]);
}

#[test]
fn marks_that_are_not_on_disk_are_forgotten_with_the_agent() {
    breaks(Extent::Orders(without(orders::Switch::MarksNotPersisted)), &[BELOW]);
}

#[test]
fn tasks_that_are_not_on_disk_are_done_twice() {
    breaks(Extent::Orders(without(orders::Switch::TasksNotPersisted)), &[TWICE]);
}

#[test]
fn a_raise_that_is_answered_at_once_is_overtaken_by_what_it_ends() {
    breaks(Extent::Orders(without(orders::Switch::RaiseAnsweredAtOnce)), &[BELOW]);
}

#[test]
fn without_an_announcement_two_leaders_are_obeyed_in_one_reign() {
    let extent = orders::Extent { switch: orders::Switch::ReignNotAnnounced, twin: true, ..ORDERS };
    breaks(Extent::Orders(extent), &["no two leaders are obeyed in one reign"]);
}

fn lease_without(switch: lease::Switch) -> Extent {
    Extent::Lease(lease::Extent { switch, ..LEASE })
}

#[test]
fn without_waiting_for_the_lease_both_serve() {
    breaks(lease_without(lease::Switch::TransferWithoutWaiting), &[BOTH]);
}

#[test]
fn a_lease_that_counts_from_the_answer_outlives_what_is_waited_for() {
    breaks(lease_without(lease::Switch::CountedFromReceipt), &[BOTH, LEASES]);
}

#[test]
fn a_new_leader_that_trusts_silence_at_once_is_wrong() {
    breaks(lease_without(lease::Switch::NewLeaderTrustsAtOnce), &[BOTH]);
}

#[test]
fn a_deposed_leader_that_renews_unasked_keeps_the_old_primary_alive() {
    breaks(lease_without(lease::Switch::RenewedUnconfirmed), &[BOTH, LEASES]);
}

#[test]
fn what_is_ordered_unrecorded_may_be_at_work_when_the_next_leader_leaves_it_out() {
    let budget = orders::Budget { left_out: 1, ..ORDERS.budget };
    let extent = orders::Extent { switch: orders::Switch::OrderedUnrecorded, budget, ..ORDERS };
    breaks(Extent::Orders(extent), &["nothing acts that is known to be over"]);
}
