//! Where passwords are hashed: on threads that everybody else goes before, few at a time, behind a queue that has an end.

use crate::{meters, traces::Step};
use std::{sync::Arc, thread, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Passwords that may wait for a core; one more is sent away at once, so that memory stays bounded. The last of them is through
/// well within a request's deadline. Much fewer would harm others more: who is sent away comes back at once, who waits does not.
const WAITING_MAX: usize = 256;
/// How long one waits at the most: less than a request may take, so that nobody's place is kept after he was told to try again.
const WAITING_LIMIT: Duration = Duration::from_secs(10);
/// How far hashing steps back: the kernel wakes others before it and gives it a thirtieth of a core that they keep busy, so that
/// people can still sign in then. At 19 it would be a seventieth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 15;
/// With so many waiting it steps aside: it has what nobody else wants, and others are not kept waiting even for the rest of a time
/// slice. On cores that others keep busy it gets next to nothing then; but there the last of so many would not be through in time
/// either way.
const CROWD: usize = 32;

/// Why a password was not hashed or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// Too many are waiting.
    #[error("too many passwords are being hashed")]
    Busy,
    /// Ours to mend.
    #[error("hashing failed")]
    Failed,
}

/// How busy hashing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingLoad {
    /// Passwords on a core.
    pub running: usize,
    /// Passwords that wait for one.
    pub waiting: usize,
}

/// A place in the queue. Given back when it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// The cores that hashing may have, and the queue before them.
pub(super) struct Hashing {
    cores: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    cores_max: usize,
    waiting_limit: Duration,
}

impl Hashing {
    /// One core less than there are, where there are several: it is left to everybody else.
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1);
        let queue = Arc::new(Semaphore::new(cores.saturating_add(WAITING_MAX)));
        Hashing { cores: Arc::new(Semaphore::new(cores)), queue, cores_max: cores, waiting_limit: WAITING_LIMIT }
    }

    pub(super) fn load(&self) -> HashingLoad {
        let running = self.cores_max.saturating_sub(self.cores.available_permits());
        let taken = self.cores_max.saturating_add(WAITING_MAX).saturating_sub(self.queue.available_permits());
        HashingLoad { running, waiting: taken.saturating_sub(running) }
    }

    /// Joins the queue, unless it is full.
    pub(super) fn join(&self) -> Result<Place, HashingError> {
        Arc::clone(&self.queue).try_acquire_owned().map(Place).map_err(|_| busy())
    }

    /// Runs work that keeps a core busy, when its turn comes.
    pub(super) async fn run<T: Send + 'static>(&self, place: Place, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashingError> {
        let queueing = Step::part("argon2.queue");
        let turn = tokio::time::timeout(self.waiting_limit, Arc::clone(&self.cores).acquire_owned()).await;
        drop(queueing);
        let core = turn.map_err(|_| busy())?.map_err(|_| HashingError::Failed)?;
        let is_crowded = self.load().waiting >= CROWD;
        let _hashing = Step::part("argon2.hash");
        let (answer, answered) = oneshot::channel();
        // The permits move into the closure: a caller that is gone frees no core that is still at work.
        let permits = (place, core);
        let job = move || {
            step_back(is_crowded);
            let result = work();
            drop(permits);
            // Nobody may wait for it any more.
            drop(answer.send(result));
        };
        // A thread of its own for each, for it can't step forward again: beside the hash its start costs nothing.
        thread::Builder::new().name("password".to_owned()).spawn(job).map_err(|_| HashingError::Failed)?;
        answered.await.map_err(|_| HashingError::Failed)
    }
}

fn busy() -> HashingError {
    meters::password_refused();
    HashingError::Busy
}

/// Lets all other threads of the machine go first. Where that is refused, hashing goes on as everybody else.
#[cfg(target_os = "linux")]
fn step_back(is_crowded: bool) {
    use thread_priority::{NormalThreadSchedulePolicy::Idle, ThreadPriority::Min, ThreadSchedulePolicy::Normal};
    // On Linux this is the thread, elsewhere the whole process.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    if is_crowded {
        let _ = thread_priority::set_thread_priority_and_policy(thread_priority::thread_native_id(), Min, Normal(Idle));
    }
}

/// Threads have no priority of their own that anybody may lower there.
#[cfg(not(target_os = "linux"))]
fn step_back(_is_crowded: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_sends_the_next_one_away() {
        let hashing = Hashing::new();
        let places = (0..hashing.cores_max + WAITING_MAX).map(|_| hashing.join().unwrap()).collect::<Vec<_>>();

        let refused = hashing.join().err();
        let full = hashing.load();
        drop(places);
        let served = hashing.run(hashing.join().unwrap(), || 7).await;

        assert_eq!((refused, served), (Some(HashingError::Busy), Ok(7)));
        assert_eq!(full, HashingLoad { running: 0, waiting: hashing.cores_max + WAITING_MAX });
    }

    #[tokio::test]
    async fn no_more_run_at_once_than_cores_are_given_also_when_their_callers_are_gone() {
        let hashing = Hashing::new();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        for _ in 0..hashing.cores_max {
            let (begun, begins) = oneshot::channel();
            let released = Arc::clone(&released);
            let work = move || {
                begun.send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            };
            let place = hashing.join().unwrap();
            // The caller is gone as soon as the work has begun.
            tokio::select! {
                _ = hashing.run(place, work) => unreachable!("it waits to be released"),
                begun = begins => begun.unwrap(),
            }
        }

        let full = hashing.load();
        (0..hashing.cores_max).for_each(|_| release.send(()).unwrap());
        let served = hashing.run(hashing.join().unwrap(), || 7).await;

        assert_eq!(full, HashingLoad { running: hashing.cores_max, waiting: 0 });
        assert_eq!(served, Ok(7));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_sent_away_and_leaves_his_place() {
        let hashing = Hashing { waiting_limit: Duration::from_millis(1), ..Hashing::new() };
        let cores = u32::try_from(hashing.cores_max).unwrap();
        let held = Arc::clone(&hashing.cores).try_acquire_many_owned(cores).unwrap();
        let place = hashing.join().unwrap();

        let refused = hashing.run(place, || 7).await;

        assert_eq!((refused, hashing.load().waiting), (Err(HashingError::Busy), 0));
        drop(held);
    }

    #[tokio::test]
    async fn work_that_panics_fails_alone_and_gives_its_core_back() {
        let hashing = Hashing::new();

        let failed = hashing.run(hashing.join().unwrap(), || panic!("on purpose")).await;
        let served = hashing.run(hashing.join().unwrap(), || 7).await;

        assert_eq!((failed, served), (Err::<(), _>(HashingError::Failed), Ok(7)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_thread_that_hashes_steps_back_and_no_other() {
        let hashing = Hashing::new();
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();

        let there = hashing.run(hashing.join().unwrap(), niceness).await.unwrap();

        assert_eq!(there, NICENESS);
        assert_eq!(niceness(), before);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn before_a_crowd_it_steps_aside() {
        use thread_priority::{NormalThreadSchedulePolicy as Kind, ThreadSchedulePolicy::Normal, thread_schedule_policy};
        let hashing = Hashing::new();
        let mut policies = Vec::new();
        for crowd in [CROWD - 1, CROWD] {
            let places = (0..crowd).map(|_| hashing.join().unwrap()).collect::<Vec<_>>();
            policies.push(hashing.run(hashing.join().unwrap(), thread_schedule_policy).await.unwrap().unwrap());
            drop(places);
        }

        assert_eq!(policies, [Normal(Kind::Other), Normal(Kind::Idle)]);
    }
}
