#include "compiler/link/kit.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cstdlib>
#include <fstream>

namespace qwench::link {

namespace {

constexpr const char *kFiles[] = {
    "Scrt1.o",     "crti.o",          "crtbeginS.o",         "crtendS.o", "crtn.o",    "libgcc.a",
    "libgcc_eh.a", "libstdc++.a",     "libc_nonshared.a",    "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2",
    "exports.map", "libqwench_app.a", "libqwench_runtime.a",
};

} // namespace

Result<Kit> Kit::open(const std::string &directory) {
  Kit kit(directory);
  for (const char *file : kFiles)
    if (!llvm::sys::fs::exists(kit.path(file)))
      return internalError("expected '" + std::string(file) + "' in '" + directory +
                           "', found nothing (QWENCH_LIB_DIR names another directory)");
  return kit;
}

Result<Kit> Kit::find() {
  if (const char *directory = std::getenv("QWENCH_LIB_DIR"); directory && *directory)
    return open(directory);
  static int anchor;
  llvm::SmallString<256> program(llvm::sys::fs::getMainExecutable(nullptr, &anchor));
  llvm::sys::path::remove_filename(program);
  llvm::sys::path::append(program, "..", "lib", "qwench");
  llvm::sys::path::remove_dots(program, /*remove_dot_dot=*/true);
  return open(program.str().str());
}

std::vector<std::string> Kit::sanitizerArguments() const {
  std::vector<std::string> arguments;
  std::ifstream file(path("sanitizers.args"));
  for (std::string line; std::getline(file, line);)
    arguments.push_back(line);
  return arguments;
}

} // namespace qwench::link
