//! The actor of one locomotive: a mailbox around a live twin. Its shard supervises it and rebuilds it from the log when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::collect::Ticket;
use crate::live::{Answer, Call, LiveTwin, Workshop, panic_message};
use crate::meter::Alive;

/// A call, and the duty to answer it.
pub(crate) struct LocomotiveMessage {
    pub(crate) call: Call,
    pub(crate) ticket: Ticket,
}

/// The actor.
pub(crate) struct Locomotive;

/// What the actor holds.
pub(crate) struct Cabin {
    pub(crate) twin: LiveTwin,
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) alive: Alive,
}

impl Actor for Locomotive {
    type Msg = LocomotiveMessage;
    type State = Cabin;
    type Arguments = Cabin;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, cabin: Cabin) -> Result<Cabin, ActorProcessingErr> {
        cabin.alive.begin();
        Ok(cabin)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: LocomotiveMessage,
        cabin: &mut Cabin,
    ) -> Result<(), ActorProcessingErr> {
        answer(message, cabin)
    }
}

/// Answers a call. A panic is answered with its message, then the actor ends: its state is not to be trusted any more.
fn answer(message: LocomotiveMessage, cabin: &mut Cabin) -> Result<(), ActorProcessingErr> {
    let Cabin { twin, workshop, .. } = cabin;
    match catch_unwind(AssertUnwindSafe(|| twin.answer(message.call, workshop))) {
        Ok(answer) => {
            message.ticket.answer(answer);
            Ok(())
        }
        Err(panic) => {
            let text = panic_message(&*panic);
            message.ticket.answer(Answer::Lost(text.clone()));
            Err(text.into())
        }
    }
}
