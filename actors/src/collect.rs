//! One collector for all answers of a round of calls: cheaper than a channel for each, and a lost answer cannot hang the shard.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::live::Answer;

/// Waits for the answers of one round of calls.
pub(crate) struct Collector {
    slots: Vec<Mutex<Option<Answer>>>,
    missing: AtomicUsize,
    whole: Notify,
}

/// The duty to answer one call. Dropped without an answer, it says that the answer is lost.
pub(crate) struct Ticket {
    collector: Arc<Collector>,
    slot: usize,
}

impl Collector {
    /// Expects one answer in each of `count` slots; each slot's ticket must be drawn once.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let slots = (0..count).map(|_| Mutex::new(None)).collect();
        Arc::new(Self { slots, missing: AtomicUsize::new(count), whole: Notify::new() })
    }

    pub(crate) fn ticket(self: &Arc<Self>, slot: usize) -> Ticket {
        Ticket { collector: Arc::clone(self), slot }
    }

    /// All answers in the order of their slots, when the last ticket is gone.
    pub(crate) async fn answers(&self) -> Vec<Answer> {
        while self.missing.load(Ordering::Acquire) > 0 {
            self.whole.notified().await;
        }
        let take = |slot: &Mutex<Option<Answer>>| {
            let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            answer.unwrap_or_else(|| Answer::Lost("its mailbox was lost".to_owned()))
        };
        self.slots.iter().map(take).collect()
    }
}

impl Ticket {
    pub(crate) fn answer(self, answer: Answer) {
        *self.collector.slots[self.slot].lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.collector.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.collector.whole.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_ticket_is_a_lost_answer_and_not_a_hang() {
        let collector = Collector::new(2);
        let (first, second) = (collector.ticket(0), collector.ticket(1));
        drop(first);
        tokio::spawn(async move { second.answer(Answer::Frozen { version: 7, state: Vec::new() }) });
        let answers = collector.answers().await;
        assert!(matches!(answers[..], [Answer::Lost(_), Answer::Frozen { version: 7, .. }]));
    }
}
