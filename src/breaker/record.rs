//! The breaker's part of the log `fleet`: folded at the start, with the model in force. What an event does to the breaker is `machine`'s affair.

use anyhow::Result;
use twin::fleet::FleetEvent;

use super::machine::Machine;
use super::{Options, measured};

/// Folds the log, and records the model in force where it is another than the last one recorded.
pub(super) async fn open(options: &Options) -> Result<Machine> {
    let (mut machine, mut recorded) = (Machine::new(options.model), None);
    let fold = |event: &FleetEvent| {
        if let FleetEvent::ModelPromoted { model, .. } = event {
            recorded = Some(*model);
        }
        machine.fold(event);
    };
    options.log.read(fold).await?;
    if recorded != Some(options.model) {
        let event = FleetEvent::ModelPromoted {
            at: options.now,
            model: options.model,
            previous: recorded,
            definition: options.blueprint.definition.id,
        };
        options.log.append(&event, &measured()).await?;
        machine.fold(&event);
    }
    Ok(machine)
}
