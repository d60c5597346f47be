// A second stack, switched to and from by hand.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qwench::gpu_on_cpu {

class Fiber {
public:
  static constexpr size_t kStackBytes = 64 << 10;

  Fiber();
  ~Fiber();
  Fiber(const Fiber &) = delete;
  Fiber &operator=(const Fiber &) = delete;

  /// The next resume() calls entry(argument) on the fiber's stack; it must not return, but yield() for ever at its end.
  void start(void (*entry)(void *), void *argument);
  void resume();
  /// Back to where resume() was called.
  void yield();

private:
  uint8_t *stack;
  void *own = nullptr, *other = nullptr; ///< saved stack pointers
};

} // namespace qwench::gpu_on_cpu
