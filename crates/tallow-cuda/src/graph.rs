//! CUDA graphs: work of a device that is recorded once, and then queued by one call.

use std::fmt::Display;
use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::sys::{
    CUgraphInstantiate_flags as Flags, CUstreamCaptureMode as Mode,
};
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaSlice};

use crate::call::Address;
use crate::engine::Engine;
use crate::error::{Error, Result, driver};
use crate::view::address;

/// Recorded work of a device.
///
/// Memory that the work allocates has the same addresses in every launch. What it does not free stays until the next launch, which frees it and
/// allocates it again: results are read from there.
pub struct Graph {
    graph: CudaGraph,
    engine: Arc<Engine>,
    /// Number that moves the masks of dropout.
    moved: CudaSlice<u64>,
    /// The same on the host.
    known: u64,
}

impl Graph {
    /// Queues the work. Masks of dropout begin `moved` words behind those of the recording.
    ///
    /// # Errors
    /// Errors of the driver, of work that was queued before, too.
    pub fn launch(&mut self, moved: u64) -> Result<()> {
        if moved != self.known {
            // The host's number is copied before the call returns, and the device's is written after the launches before.
            self.engine
                .device()
                .memcpy_htod(&[moved], &mut self.moved)?;
            self.known = moved;
        }
        driver("cuGraphLaunch", self.graph.launch())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // A graph may be destroyed when it does not run. An error of the work is reported by the next call that waits.
        let _ = self.engine.stream().synchronize();
    }
}

/// Runs `f`, which queues work that is to be recorded later, and keeps what the operators of candle upload for it, such as shapes: a recording
/// cannot upload.
pub fn warm_up<R>(device: &CudaDevice, f: impl FnOnce() -> R) -> R {
    let _kept = device.enable_cuda_graph_htod_cache();
    f()
}

/// Records what `queue` queues on the device, and launches it once: afterwards all is as if `queue` had queued it in the usual way. The same work
/// must have been queued before, under [`warm_up`]; kernels are compiled and scratch memory is made then.
///
/// The result of `queue` is memory that each launch writes anew. It may be dropped before the graph or after it. All else that the work reads and
/// writes must be kept by the caller as long as work is launched: a graph has its addresses.
///
/// # Errors
/// [`Error::Graph`] says what cannot be recorded: work that waits for the device, copies from the host or to it, and frees memory that was
/// allocated before. Nothing was done then, and work can be queued as before. Errors of the first launch.
pub fn record<R, E: Display>(
    device: &CudaDevice,
    queue: impl FnOnce() -> Result<R, E>,
) -> Result<(Graph, R)> {
    let engine = Engine::of(device)?;
    check(&engine)?;
    let moved = device.alloc_zeros::<u64>(1)?;
    let recording = Recording::start(engine.clone(), address(&moved))?;
    let queued = {
        let _kept = device.enable_cuda_graph_htod_cache();
        queue()
    };
    let ended = recording.end();
    let results = queued.map_err(|error| Error::Graph(error.to_string()))?;
    let launched = ended.and_then(|graph| {
        let mut graph = Graph {
            graph,
            engine,
            moved,
            known: 0,
        };
        graph.launch(0)?;
        Ok(graph)
    });
    match launched {
        Ok(graph) => Ok((graph, results)),
        Err(error) => {
            // Their memory was never allocated, so it must not be freed.
            std::mem::forget(results);
            Err(error)
        }
    }
}

/// True while work of the device is recorded: then it must not be given data of the host.
pub fn is_recording(device: &CudaDevice) -> bool {
    Engine::of(device).is_ok_and(|engine| engine.recordings().now().is_some())
}

/// Checks that work of the device can be recorded.
fn check(engine: &Engine) -> Result<()> {
    let refuse = |message: &str| Err(Error::Graph(message.to_string()));
    let context = engine.stream().context();
    if engine.recordings().now().is_some() {
        return refuse("another one is being recorded");
    }
    if context.is_event_tracking() {
        return refuse("the device tracks events; `tallow_cuda::open` makes one that does not");
    }
    if !context.has_async_alloc() {
        return refuse("the device has no pools of memory");
    }
    if engine.clock().is_running() {
        return refuse("kernels are being timed");
    }
    Ok(())
}

/// Stream whose work is recorded, until this is ended or dropped.
struct Recording {
    engine: Arc<Engine>,
    ended: bool,
}

impl Recording {
    fn start(engine: Arc<Engine>, moved: Address) -> Result<Self> {
        // Other threads may do what a recording must not.
        let started = engine
            .stream()
            .begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        driver("cuStreamBeginCapture", started)?;
        engine.recordings().set(Some(moved));
        Ok(Self {
            engine,
            ended: false,
        })
    }

    fn end(mut self) -> Result<CudaGraph> {
        self.finish()
    }

    fn finish(&mut self) -> Result<CudaGraph> {
        self.ended = true;
        self.engine.recordings().set(None);
        let context = self.engine.stream().context();
        // cudarc keeps errors of what is freed for the next call, which would fail before it ends the recording.
        let freed = context.check_err();
        let ended = self
            .engine
            .stream()
            .end_capture(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
        driver("cuMemFreeAsync in a recording", freed)?;
        driver("cuStreamEndCapture", ended)?
            .ok_or_else(|| Error::Graph("nothing was recorded".to_string()))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.ended {
            // After a panic: the stream must be usable where it is caught.
            let _ = self.finish();
        }
    }
}
