// The files that Qwench links compiled models with. They lie beside the tool, so that no compiler is needed
// to use it.
#pragma once

#include "runtime/abi/result.h"

#include <string>
#include <vector>

namespace qwench::link {

/// A directory with the runtime archives (libqwench_app.a, libqwench_runtime.a), crt files, static libstdc++
/// and libgcc, and libc and libm to link against.
class Kit {
public:
  /// $QWENCH_LIB_DIR, or ../lib/qwench as seen from this program's file. An error names a file that is
  /// missing.
  static Result<Kit> find();
  /// The kit in that directory.
  static Result<Kit> open(const std::string &directory);

  std::string path(const std::string &file) const { return directory + "/" + file; }
  /// Linker arguments that an executable needs besides when the archives are built with sanitizers: the lines of
  /// sanitizers.args, a file that only the kits of such builds have.
  std::vector<std::string> sanitizerArguments() const;

private:
  explicit Kit(std::string directory) : directory(std::move(directory)) {}

  std::string directory;
};

} // namespace qwench::link
