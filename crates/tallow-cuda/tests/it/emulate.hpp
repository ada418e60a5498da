// A device for the tests: runs the kernels on the CPU, one block after another, with the threads of a block as fibers.
//
// A fiber runs until `__syncthreads` or its end, then the next one does. So a kernel that reads what another thread writes without a
// barrier between gives other results when the fibers run in another order, which the tests choose.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __restrict__
// One block runs at a time.
#define __shared__ static

struct Dim {
    unsigned x, y, z;
};

static Dim threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 {
    float x, y, z, w;
};

static inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int __float_as_int(float value) {
    int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

namespace emulator {

constexpr size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done;
};

static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static unsigned current;
static std::function<void()> body;

static void enter() {
    body();
    fibers[current].done = true;
    // Returns to the scheduler, by `uc_link`.
}

static void barrier() { swapcontext(&fibers[current].context, &scheduler); }

// Runs one block. Returns false if some threads end while others wait at a barrier.
static bool run_block(bool backwards) {
    const unsigned threads = blockDim.x;
    while (fibers.size() < threads) {
        fibers.emplace_back();
        fibers.back().stack.reset(new char[STACK]);
    }
    for (unsigned t = 0; t < threads; t++) {
        Fiber &fiber = fibers[t];
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
    }
    for (;;) {
        for (unsigned i = 0; i < threads; i++) {
            current = backwards ? threads - 1 - i : i;
            threadIdx = {current, 0, 0};
            swapcontext(&scheduler, &fibers[current].context);
        }
        unsigned done = 0;
        for (unsigned t = 0; t < threads; t++) done += fibers[t].done;
        if (done == threads) return true;
        if (done != 0) return false;
    }
}

static int run(unsigned across, unsigned down, unsigned threads, bool backwards) {
    blockDim = {threads, 1, 1};
    gridDim = {across, down, 1};
    const unsigned blocks = across * down;
    for (unsigned i = 0; i < blocks; i++) {
        const unsigned block = backwards ? blocks - 1 - i : i;
        blockIdx = {block % across, block / across, 0};
        if (!run_block(backwards)) return 1;
    }
    return 0;
}

template <class T>
static T read(void *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class... A, size_t... I>
static std::tuple<A...> read_all(void **args, std::index_sequence<I...>) {
    return std::tuple<A...>(read<A>(args[I])...);
}

// Runs a kernel with arguments as `cuLaunchKernel` takes them. Returns 2 for a wrong number of arguments.
template <class... A>
static int launch(void (*kernel)(A...), unsigned across, unsigned down, unsigned threads, void **args, unsigned count, int backwards) {
    if (count != sizeof...(A)) return 2;
    const std::tuple<A...> values = read_all<A...>(args, std::index_sequence_for<A...>());
    body = [kernel, &values] { std::apply(kernel, values); };
    return run(across, down, threads, backwards != 0);
}

}  // namespace emulator

static inline void __syncthreads() { emulator::barrier(); }

#define ENTRY(NAME)                                                                                                                 \
    extern "C" int emulate_##NAME(unsigned across, unsigned down, unsigned threads, void **args, unsigned count, int backwards) { \
        return emulator::launch(NAME, across, down, threads, args, count, backwards);                                              \
    }
