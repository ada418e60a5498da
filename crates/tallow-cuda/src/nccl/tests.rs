//! Peers on functions of this file in the place of NCCL's: its ranks are threads, its GPUs' memory is that of the process, and its streams do
//! their work at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Barrier, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::library::{BYTES, Comm, Config, IN_PROGRESS, SUCCESS, Status};
use super::*;

const SYSTEM_ERROR: Status = 2;
const INVALID_ARGUMENT: Status = 4;
const REMOTE_ERROR: Status = 6;

/// A rank of a fake communicator, behind its pointer.
struct Rank {
    id: [u8; UniqueId::LEN],
    rank: usize,
    world: usize,
}

/// State that the ranks of a communicator share.
#[derive(Default)]
struct Shared {
    joined: usize,
    /// Messages that were sent and not received, by sender and receiver.
    waiting: HashMap<(usize, usize), Vec<Vec<u8>>>,
    ended: bool,
    finalized: usize,
}

/// All communicators by their names.
static WORLDS: LazyLock<Mutex<HashMap<[u8; UniqueId::LEN], Shared>>> =
    LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

/// Calls of a group, which run at its end: rank, receiver or sender, address, bytes.
struct Operation {
    comm: usize,
    peer: usize,
    address: usize,
    bytes: usize,
    sends: bool,
}

thread_local! {
    static GROUP: RefCell<Option<Vec<Operation>>> = const { RefCell::new(None) };
    /// Error of a call of the group.
    static FAILED: Cell<Status> = const { Cell::new(SUCCESS) };
    /// Fault that the functions have in this thread.
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
    /// Looks at the state of a communicator until it is that of success.
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Sending fails.
    Send,
    /// The end of a group never comes.
    Stuck,
    /// An error that is known only later.
    Remote,
    /// Joining fails.
    Join,
}

fn worlds() -> MutexGuard<'static, HashMap<[u8; UniqueId::LEN], Shared>> {
    WORLDS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rank_of(comm: Comm) -> &'static Rank {
    // SAFETY: the pointers are those of `init`, whose ranks are never freed.
    unsafe { &*comm.cast::<Rank>() }
}

unsafe extern "C" fn get_unique_id(id: *mut UniqueId) -> Status {
    static NUMBER: Mutex<u64> = Mutex::new(0);
    let mut number = NUMBER.lock().unwrap();
    *number += 1;
    let mut bytes = [7; UniqueId::LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    // SAFETY: there is room for it, by the contract of the function.
    unsafe { *id = UniqueId::from_bytes(&bytes).unwrap() };
    SUCCESS
}

unsafe extern "C" fn init(
    comm: *mut Comm,
    world: c_int,
    id: UniqueId,
    rank: c_int,
    config: *mut Config,
) -> Status {
    if FAULT.get() == Fault::Join {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller has made one.
    let config = unsafe { &*config };
    let expected = (size_of::<Config>(), 0xcafe_beef, 0);
    if (config.size, config.magic, config.blocking) != expected || config.version < 21_800 {
        return INVALID_ARGUMENT;
    }
    let id: [u8; UniqueId::LEN] = id.as_bytes().try_into().unwrap();
    let (rank, world) = (rank as usize, world as usize);
    worlds().entry(id).or_default().joined += 1;
    CHANGED.notify_all();
    let made = Box::leak(Box::new(Rank { id, rank, world }));
    // SAFETY: there is room for it, by the contract of the function.
    unsafe { *comm = std::ptr::from_mut(made).cast() };
    IN_PROGRESS
}

unsafe extern "C" fn finalize(comm: Comm) -> Status {
    worlds().entry(rank_of(comm).id).or_default().finalized += 1;
    IN_PROGRESS
}

unsafe extern "C" fn destroy(_: Comm) -> Status {
    SUCCESS
}

unsafe extern "C" fn abort(comm: Comm) -> Status {
    worlds().entry(rank_of(comm).id).or_default().ended = true;
    CHANGED.notify_all();
    SUCCESS
}

unsafe extern "C" fn async_error(comm: Comm, state: *mut Status) -> Status {
    let rank = rank_of(comm);
    let worlds = worlds();
    let shared = &worlds[&rank.id];
    let looks = LOOKS.get();
    LOOKS.set(looks.saturating_sub(1));
    let found = match FAULT.get() {
        Fault::Stuck => IN_PROGRESS,
        Fault::Remote => REMOTE_ERROR,
        _ if shared.ended => REMOTE_ERROR,
        _ if shared.joined < rank.world || looks > 0 => IN_PROGRESS,
        _ => SUCCESS,
    };
    // SAFETY: there is room for it, by the contract of the function.
    unsafe { *state = found };
    SUCCESS
}

unsafe extern "C" fn error_string(status: Status) -> *const c_char {
    let text: &CStr = match status {
        SYSTEM_ERROR => c"unhandled system error",
        INVALID_ARGUMENT => c"invalid argument",
        REMOTE_ERROR => c"remote process exited",
        _ => c"unknown",
    };
    text.as_ptr()
}

unsafe extern "C" fn last_error(comm: Comm) -> *const c_char {
    match comm.is_null() {
        true => std::ptr::null(),
        false => c"the cable is out\n".as_ptr(),
    }
}

unsafe extern "C" fn group_start() -> Status {
    GROUP.with_borrow_mut(|group| match group {
        Some(_) => INVALID_ARGUMENT,
        None => {
            *group = Some(Vec::new());
            SUCCESS
        }
    })
}

/// Puts an operation into the group.
fn put(operation: Operation, kind: c_int) -> Status {
    GROUP.with_borrow_mut(|group| match group {
        Some(group) if kind == BYTES && operation.bytes > 0 => {
            group.push(operation);
            SUCCESS
        }
        _ => INVALID_ARGUMENT,
    })
}

unsafe extern "C" fn send(
    at: *const c_void,
    bytes: usize,
    kind: c_int,
    peer: c_int,
    comm: Comm,
    stream: *mut c_void,
) -> Status {
    assert_eq!(stream as usize, STREAM);
    if FAULT.get() == Fault::Send {
        FAILED.set(SYSTEM_ERROR);
        return SYSTEM_ERROR;
    }
    let (comm, peer, address) = (comm as usize, peer as usize, at as usize);
    let sends = true;
    let operation = Operation {
        comm,
        peer,
        address,
        bytes,
        sends,
    };
    put(operation, kind)
}

unsafe extern "C" fn receive(
    at: *mut c_void,
    bytes: usize,
    kind: c_int,
    peer: c_int,
    comm: Comm,
    stream: *mut c_void,
) -> Status {
    assert_eq!(stream as usize, STREAM);
    let (comm, peer, address) = (comm as usize, peer as usize, at as usize);
    let sends = false;
    let operation = Operation {
        comm,
        peer,
        address,
        bytes,
        sends,
    };
    put(operation, kind)
}

/// All messages of the group: first those that are sent, as one that waits for a message before it has sent its own would wait forever.
unsafe extern "C" fn group_end() -> Status {
    let Some(group) = GROUP.take() else {
        return INVALID_ARGUMENT;
    };
    match FAILED.replace(SUCCESS) {
        SUCCESS => {}
        // Nothing of such a group is done.
        failed => return failed,
    }
    for operation in group.iter().filter(|operation| operation.sends) {
        let rank = rank_of(operation.comm as Comm);
        // SAFETY: the caller has given the address of so many bytes.
        let bytes =
            unsafe { std::slice::from_raw_parts(operation.address as *const u8, operation.bytes) };
        let mut worlds = worlds();
        let shared = worlds.entry(rank.id).or_default();
        let way = shared.waiting.entry((rank.rank, operation.peer));
        way.or_default().push(bytes.to_vec());
        CHANGED.notify_all();
    }
    let limit = Instant::now() + Duration::from_secs(20);
    for operation in group.iter().filter(|operation| !operation.sends) {
        let rank = rank_of(operation.comm as Comm);
        let mut worlds = worlds();
        let bytes = loop {
            let shared = worlds.entry(rank.id).or_default();
            if shared.ended || Instant::now() > limit {
                return REMOTE_ERROR;
            }
            let way = shared
                .waiting
                .entry((operation.peer, rank.rank))
                .or_default();
            if !way.is_empty() {
                break way.remove(0);
            }
            let waited = CHANGED.wait_timeout(worlds, Duration::from_millis(20));
            worlds = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        if bytes.len() != operation.bytes {
            return INVALID_ARGUMENT;
        }
        // SAFETY: the caller has given the address of so many bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                operation.address as *mut u8,
                operation.bytes,
            );
        }
    }
    // Not known to be done before a few looks.
    LOOKS.set(3);
    IN_PROGRESS
}

static FAKE: LazyLock<Library> = LazyLock::new(|| Library {
    version: 22_703,
    get_unique_id,
    init,
    finalize,
    destroy,
    abort,
    async_error,
    error_string,
    last_error,
    group_start,
    group_end,
    send,
    receive,
    _library: None,
});

/// Pointer that stands for a stream.
const STREAM: usize = 0x57_12_ea;

const LIMIT: Duration = Duration::from_secs(30);

/// Results of `work` as each rank of a world.
fn run<R: Send>(
    world: usize,
    limit: Duration,
    work: impl Fn(usize, Result<Peers>) -> R + Sync,
) -> Vec<R> {
    let id = FAKE.unique_id().unwrap();
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..world)
            .map(|rank| {
                scope.spawn(move || work(rank, Peers::join(&FAKE, &id, (rank, world), limit)))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    })
}

/// Bytes that a rank gets from each: none, in larger worlds.
fn len(to: usize) -> usize {
    (to + 1) % 3
}

fn bytes(from: usize, to: usize) -> Vec<u8> {
    vec![(from * 10 + to) as u8; len(to)]
}

/// Exchange of [`bytes`] between all ranks.
fn exchange(peers: &mut Peers) -> Result<Vec<Vec<u8>>> {
    let (rank, world) = (peers.rank(), peers.world());
    let sent: Vec<Vec<u8>> = (0..world).map(|to| bytes(rank, to)).collect();
    let mut received = vec![vec![0; len(rank)]; world];
    let from = sent.iter().enumerate().map(|(rank, bytes)| Message {
        rank,
        address: bytes.as_ptr() as crate::Address,
        bytes: bytes.len(),
    });
    let to = received
        .iter_mut()
        .enumerate()
        .map(|(rank, bytes)| Message {
            rank,
            address: bytes.as_mut_ptr() as crate::Address,
            bytes: bytes.len(),
        });
    let (from, to): (Vec<Message>, Vec<Message>) = (from.collect(), to.collect());
    // SAFETY: the addresses are of so many bytes, which are left alone meanwhile; this stream is done when the call is.
    unsafe { peers.exchange(&from, &to, STREAM as *mut c_void)? };
    Ok(received)
}

#[test]
fn each_rank_gets_what_the_others_sent_to_it() {
    for world in [1, 2, 5] {
        let found = run(world, LIMIT, |_, peers| {
            let mut peers = peers.unwrap();
            peers.check().unwrap();
            assert_eq!(peers.library(), "NCCL 2.27.3");
            [exchange(&mut peers).unwrap(), exchange(&mut peers).unwrap()]
        });
        for (rank, found) in found.into_iter().enumerate() {
            let expected: Vec<Vec<u8>> = (0..world).map(|from| bytes(from, rank)).collect();
            assert_eq!(found, [expected.clone(), expected]);
        }
    }
}

#[test]
fn a_clean_end_is_told_to_the_library() {
    let id = FAKE.unique_id().unwrap();
    drop(Peers::join(&FAKE, &id, (0, 1), LIMIT).unwrap());
    let worlds = worlds();
    let shared = &worlds[id.as_bytes()];
    assert_eq!((shared.finalized, shared.ended), (1, false));
}

/// The second rank cannot send. It is in no group afterwards, and the first one hears of it.
#[test]
fn an_error_ends_all_ranks_with_what_the_library_says() {
    let joined = Barrier::new(2);
    let errors = run(2, LIMIT, |rank, peers| {
        let mut peers = peers.unwrap();
        joined.wait();
        if rank == 1 {
            FAULT.set(Fault::Send);
        }
        let error = exchange(&mut peers).unwrap_err();
        FAULT.set(Fault::None);
        assert!(GROUP.with_borrow(|group| group.is_none()));
        assert!(matches!(exchange(&mut peers), Err(Error::Ended)));
        assert!(matches!(peers.check(), Err(Error::Ended)));
        error.to_string()
    });
    let expected = "NCCL, ncclSend: unhandled system error (result 2): the cable is out; NCCL_DEBUG=WARN prints more";
    assert_eq!(errors[1], expected);
    assert!(errors[0].contains("remote process exited"), "{errors:?}");
}

#[test]
fn an_error_that_is_known_later_is_found() {
    run(1, LIMIT, |_, peers| {
        let mut peers = peers.unwrap();
        FAULT.set(Fault::Remote);
        let error = peers.check().unwrap_err().to_string();
        assert!(error.contains("remote process exited"), "{error}");
        assert!(matches!(peers.check(), Err(Error::Ended)));
    });
}

#[test]
fn waits_have_a_limit() {
    let limit = Duration::from_millis(30);
    run(1, limit, |_, peers| {
        let mut peers = peers.unwrap();
        FAULT.set(Fault::Stuck);
        let error = exchange(&mut peers).unwrap_err();
        let Error::Silent { call, rank, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((call, rank), ("ncclGroupEnd", 0));
    });
    // The other rank never comes.
    let id = FAKE.unique_id().unwrap();
    let error = Peers::join(&FAKE, &id, (0, 2), limit).unwrap_err();
    let message = error.to_string();
    let expected = "NCCL, ncclCommInitRankConfig: rank 0 has waited 0 s for the other GPUs";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_rank_that_cannot_join_says_why() {
    let id = FAKE.unique_id().unwrap();
    FAULT.set(Fault::Join);
    let error = Peers::join(&FAKE, &id, (0, 1), LIMIT).unwrap_err();
    let expected =
        "NCCL, ncclCommInitRankConfig: invalid argument (result 4); NCCL_DEBUG=WARN prints more";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn names_are_of_128_bytes() {
    let id = FAKE.unique_id().unwrap();
    assert_eq!(UniqueId::from_bytes(id.as_bytes()), Some(id));
    assert_ne!(FAKE.unique_id().unwrap(), id);
    for len in [0, 127, 129] {
        assert_eq!(UniqueId::from_bytes(&vec![0; len]), None);
    }
}

/// The layout of `ncclConfig_t` in nccl.h of version 2.18.
#[test]
fn the_configuration_is_that_of_the_header() {
    assert_eq!(size_of::<Config>(), 48);
    let config = Config::non_blocking();
    let start = &raw const config as usize;
    let at = |field: *const c_int| field as usize - start;
    assert_eq!(at(&raw const config.blocking), 16);
    assert_eq!(at((&raw const config.version).cast()), 12);
}
