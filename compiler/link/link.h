// Object file to ELF image, with lld in this process.
#pragma once

#include "compiler/link/kit.h"
#include "runtime/abi/result.h"

#include <string>

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

} // namespace qwench::link
