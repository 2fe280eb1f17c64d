//! Every target on its seeds, on what it once failed on, and on random cases.

use bandolier_proving::{TARGETS, replay};

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    replay::all(target.name, target.cases, target.length, target.run);
}

#[test]
fn sequences_of_one_thread_do_what_the_oracle_says() {
    run("sequences");
}

#[test]
fn threads_that_share_blocks_do_what_the_oracle_says() {
    run("threads");
}

#[test]
fn any_layout_gets_what_it_asks_and_little_more() {
    run("classes");
}

#[test]
fn runs_and_large_blocks_do_what_the_oracle_says() {
    run("runs");
}

#[test]
fn broken_contracts_are_caught_where_that_is_promised() {
    run("misuse");
}
