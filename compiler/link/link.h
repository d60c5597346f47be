// Object file to ELF image, with lld in this process.
#pragma once

#include "compiler/link/kit.h"
#include "runtime/abi/result.h"

#include <string>
#include <string_view>

namespace qwench::link {

enum class Output { Executable, SharedObject };

struct LinkOptions {
  Output output = Output::Executable;
  std::string object; ///< path of the model's object file
  int threads = 1;
};

/// Links the object with the runtime. Gives the bytes of the image: they never touch a disk, so a full one
/// cannot kill the linker, which maps the files it writes. The image needs libc and libm and nothing else; a
/// shared object exports the functions of runtime/abi/qwench.h. The same input gives the same bytes.
Result<std::string> linkImage(const Kit &kit, const LinkOptions &options);

/// A loadable code object for an AMD GPU from an object file's bytes.
Result<std::string> linkCodeObject(std::string_view object);

/// Bytes that can be opened by a path, as a file in memory.
class MemoryFile {
public:
  explicit MemoryFile(std::string_view bytes);
  MemoryFile(const MemoryFile &) = delete;
  ~MemoryFile();
  bool valid() const { return descriptor >= 0; }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor); }

private:
  int descriptor = -1;
};

} // namespace qwench::link
