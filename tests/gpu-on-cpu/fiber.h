// A second stack, switched to and from by hand. AddressSanitizer is told of each switch.
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

  /// The next resume() calls entry(argument) on the fiber's stack. When that returns, so does the resume() that went on
  /// with it; the next one needs another start().
  void start(void (*entry)(void *), void *argument);
  void resume();
  /// Back to where resume() was called.
  void yield();

private:
  static void main(Fiber *fiber);

  uint8_t *stack;
  void (*entry)(void *) = nullptr;
  void *argument = nullptr;
  void *own = nullptr, *other = nullptr;             ///< saved stack pointers
  void *ownFrames = nullptr, *otherFrames = nullptr; ///< where AddressSanitizer keeps variables of the two stacks
  const void *otherStack = nullptr;                  ///< what it says of the stack of who called resume()
  size_t otherBytes = 0;
};

} // namespace qwench::gpu_on_cpu
