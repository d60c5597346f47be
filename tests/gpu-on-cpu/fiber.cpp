#include "tests/gpu-on-cpu/fiber.h"

#include <cstdlib>
#include <sys/mman.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a call preserves on the stack, stores its pointer at (rdi), and continues at the stack in rsi.
asm(R"(
.text
.p2align 4
.type qwench_fiber_switch, @function
qwench_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size qwench_fiber_switch, .-qwench_fiber_switch
.type qwench_fiber_begin, @function
qwench_fiber_begin:
  movq %r12, %rdi
  callq *%r13
  ud2
.size qwench_fiber_begin, .-qwench_fiber_begin
)");

extern "C" void qwench_fiber_switch(void **from, void *to);
extern "C" void qwench_fiber_begin();

namespace qwench::gpu_on_cpu {

/// Before a switch to another stack. Without `frames`, this one is left for good.
static void leave([[maybe_unused]] void **frames, [[maybe_unused]] const void *to, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(frames, to, bytes);
#endif
}

/// After a switch to a stack that was left with `frames`, null if it is new. Tells which stack that was from.
static void arrive([[maybe_unused]] void *frames, [[maybe_unused]] const void **from, [[maybe_unused]] size_t *bytes) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(frames, from, bytes);
#endif
}

Fiber::Fiber() {
  // A page below the stack that faults: an overflow must not reach another fiber.
  void *memory = mmap(nullptr, kStackBytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, 4096, PROT_NONE))
    abort();
  stack = static_cast<uint8_t *>(memory);
}

Fiber::~Fiber() { munmap(stack, kStackBytes + 4096); }

void Fiber::main(Fiber *fiber) {
  arrive(nullptr, &fiber->otherStack, &fiber->otherBytes);
  fiber->entry(fiber->argument);
  leave(nullptr, fiber->otherStack, fiber->otherBytes);
  qwench_fiber_switch(&fiber->own, fiber->other);
}

void Fiber::start(void (*function)(void *), void *itsArgument) {
  entry = function, argument = itsArgument;
  auto **top = reinterpret_cast<void **>(stack + 4096 + kStackBytes - 72);
  // As qwench_fiber_switch pops them, with the stack aligned for the call behind them: r15, r14, r13, r12, rbx, rbp, return address.
  top[0] = top[1] = nullptr;
  top[2] = reinterpret_cast<void *>(main);
  top[3] = this;
  top[4] = top[5] = nullptr;
  top[6] = reinterpret_cast<void *>(qwench_fiber_begin);
  own = top;
}

void Fiber::resume() {
  leave(&otherFrames, stack + 4096, kStackBytes);
  qwench_fiber_switch(&other, own);
  arrive(otherFrames, nullptr, nullptr);
}

void Fiber::yield() {
  leave(&ownFrames, otherStack, otherBytes);
  qwench_fiber_switch(&own, other);
  arrive(ownFrames, &otherStack, &otherBytes);
}

} // namespace qwench::gpu_on_cpu
