//! The Persistent Chat story as `cargo lab persistent-chat` tells it, with every check.

use baton_lab::{
    cluster::Binaries,
    horizon,
    persistent_chat::Installation,
    story::{self, Show, Teller},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_persistent_chat_story_is_true_to_its_end() {
    let directory = tempfile::tempdir().expect("a folder");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let mut teller = Teller::new("persistent-chat");
    let mut chat = Installation::build(directory.path(), helper, binaries, true, |_| {}).await.expect("a world");
    story::persistent_chat::tell(&mut chat, &mut teller, Show::Quiet).await.expect("the story is told to its end");
    assert!(teller.finish(), "{}", teller.record.table());
    assert_eq!(teller.record.runs.len(), 3, "{}", teller.record.table());
}
