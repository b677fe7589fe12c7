//! Recovery: claim the shard, fold its log, stand where it ended. Twins out of a snapshot sleep until they are touched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::ActorRef;
use twin::identity::Identities;

use super::messages::{Door, ShardMessage};
use super::{Entered, Fault, Ground, Places, Residence, Resident, Shard};
use crate::live::{LiveTwin, Workshop, view_of};
use crate::meter::Alive;
use crate::replay::{ShardReplay, Told};
use crate::snapshots::{hour_of, speaks_since};
use crate::view::{Found, TwinView};

impl Shard {
    pub(super) async fn recover(
        ground: Arc<Ground>,
        door: Arc<Door>,
        myself: ActorRef<ShardMessage>,
    ) -> Result<Self, Fault> {
        let (options, shard) = (&ground.options, door.shard);
        let claim = options.journal.claim(shard, &options.node).await?;
        let head = options.journal.head(shard).await?;
        let replay = ShardReplay::run(&*options.journal, shard, head.sequence, &options.blueprint).await?;
        let mut twins: Vec<_> = replay.twins.into_iter().collect();
        twins.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut views = Found::default();
        let mut residents = Vec::with_capacity(twins.len());
        for (id, told) in twins {
            let entered = match &told {
                Told::Kept(kept) => Some(Entered { version: kept.version, sequence: kept.sequence, proof: kept.proof }),
                Told::Folded(_) => None,
            };
            let mut twin = told.twin()?;
            let (version, sequence, appended_at) = (twin.version, twin.sequence, twin.appended_at);
            let speaks_since = speaks_since(&twin.state);
            let (residence, state) = if entered.is_some() {
                twin.state.identities = Identities::default();
                (Residence::Asleep, twin.state)
            } else {
                let state = view_of(&mut twin.state);
                (Residence::Dormant(Box::new(LiveTwin { id: id.clone(), version, state: twin.state })), state)
            };
            views.add(TwinView { id: id.clone(), version, shard, sequence, appended_at, state }, entered.is_some());
            residents.push(Resident { entered, ..Resident::new(id, residence, version, speaks_since) });
        }
        door.view.replace(views);
        door.epoch.store(claim.epoch, Ordering::Relaxed);
        door.sequence.store(head.sequence, Ordering::Relaxed);
        door.tick_waits.store(false, Ordering::Release);
        door.meter.position.set(head.sequence as f64);
        let workshop = Workshop {
            blueprint: Arc::clone(&options.blueprint),
            definitions: replay.definitions,
            scorer: Arc::clone(&options.scorer),
            rules: options.rules,
        };
        let alive = Alive::of("shard");
        alive.begin();
        tracing::info!(
            shard,
            epoch = claim.epoch,
            position = head.sequence,
            twins = residents.len(),
            "a shard is open"
        );
        Ok(Self {
            claim,
            opened_at: (options.clock)(),
            position: head.sequence,
            adopted: replay.adopted,
            index: residents.iter().enumerate().map(|(index, resident)| (resident.id.clone(), index)).collect(),
            places: Places::recovered(&ground.locomotives, residents.len()),
            residents,
            vacant: Vec::new(),
            batch: 0,
            waits: VecDeque::new(),
            scheduled: false,
            eased: false,
            in_flight: None,
            since_snapshot: head.sequence - replay.snapshot.sequence,
            snapshot_hour: hour_of(if replay.snapshot.sequence > 0 {
                replay.snapshot.appended_at
            } else {
                head.appended_at
            }),
            appended_at: head.appended_at,
            snapshot: None,
            workshop: Arc::new(workshop),
            myself,
            door,
            ground,
            _alive: alive,
        })
    }
}
