//! The definition in force may change over a running log: no twin is lost by it, and the past does not depend on which one is in force.

use std::sync::Arc;

use twin::command::Command;
use twin::definition::Definition;
use twin::event::Cause;
use twin::fold::Blueprint;

use crate::stage::{Stage, accepted, batch, calm, id, says};

impl Stage {
    /// The same stage under another definition: this one has the flow meter under another number, so its window begins anew.
    fn redefine(&mut self) {
        let text = include_str!("../../../data/locomotive.toml").replacen("id = 1\n", "id = 9\n", 1);
        self.put_in_force(&text);
    }

    fn put_in_force(&mut self, text: &str) {
        let blueprint = Arc::new(Blueprint::new(Definition::parse(text).expect("valid")));
        self.scorer = Arc::new(crate::doubles::Vibration::of(&blueprint));
        self.options.scorer = Arc::clone(&self.scorer) as _;
        self.options.blueprint = blueprint;
    }
}

#[tokio::test]
async fn a_change_of_definition_loses_no_twin_and_no_past() {
    for stops_cleanly in [true, false] {
        let mut stage = Stage::new(1);
        let (silent, speaking) = (id("CC-2201"), id("CC-2202"));
        let fleet = stage.open().await;
        fleet.command(&silent, Command::Commission, Cause::of("test")).await.expect("commissioned");
        fleet.ingest(batch(calm(&speaking, 0..10))).await.expect("recorded");
        if stops_cleanly {
            fleet.stop().await;
        }
        let before = stage.hashes(&fleet).await;

        stage.redefine();
        let fleet = stage.open().await;
        assert_eq!(stage.hashes(&fleet).await, before, "the past is told alike under any definition");
        let more = [says(&silent, 20, 2.0), says(&speaking, 20, 2.0)];
        assert_eq!(fleet.ingest(batch(more)).await, Ok(accepted(2)));
        stage.log_tells_the_same(&fleet).await;
        let after = stage.hashes(&fleet).await;
        if stops_cleanly {
            fleet.stop().await;
        }

        stage.log_tells_the_same(&stage.open().await).await;
        stage.put_in_force(include_str!("../../../data/locomotive.toml"));
        let back = stage.open().await;
        assert_eq!(stage.hashes(&back).await, after);
        assert_eq!(back.ingest(batch(calm(&silent, 30..33))).await, Ok(accepted(3)));
        stage.log_tells_the_same(&back).await;
    }
}
