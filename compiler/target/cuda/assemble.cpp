#include "compiler/target/cuda/assemble.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

namespace qwench::cuda {

namespace {

/// A temporary file that is removed at the end.
class TemporaryFile {
public:
  explicit TemporaryFile(llvm::StringRef suffix) {
    valid = !llvm::sys::fs::createTemporaryFile("qwench", suffix, path);
  }
  TemporaryFile(const TemporaryFile &) = delete;
  ~TemporaryFile() {
    if (valid)
      llvm::sys::fs::remove(path);
  }

  bool write(llvm::StringRef text) {
    std::error_code error;
    llvm::raw_fd_ostream out(path, error);
    out << text;
    out.close();
    bool failed = error || out.has_error();
    out.clear_error();
    return !failed;
  }
  /// The file's bytes; nothing if it cannot be read.
  std::string read() const {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : "";
  }

  bool valid = false;
  llvm::SmallString<128> path;
};

std::string executable(llvm::StringRef directory) {
  llvm::SmallString<128> path(directory);
  llvm::sys::path::append(path, "ptxas");
  return llvm::sys::fs::can_execute(path) ? path.str().str() : "";
}

} // namespace

std::string findAssembler() {
  if (const char *chosen = std::getenv("QWENCH_PTXAS"); chosen && *chosen)
    return llvm::StringRef(chosen) == "none" ? "" : chosen;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable); home && *home)
      if (std::string found = executable(std::string(home) + "/bin"); !found.empty())
        return found;
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  return executable("/usr/local/cuda/bin");
}

Result<std::string> assemble(const std::string &assembler, llvm::StringRef ptx, llvm::StringRef arch) {
  TemporaryFile in("ptx"), out("cubin"), messages("txt");
  if (!in.valid || !out.valid || !messages.valid || !in.write(ptx))
    return userError("cannot write temporary files for '" + assembler + "'");
  std::string option = "-arch=" + arch.str();
  llvm::StringRef arguments[] = {assembler, option, "-O3", in.path, "-o", out.path};
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(), llvm::StringRef(messages.path),
                                                llvm::StringRef(messages.path)};
  std::string reason;
  int code = llvm::sys::ExecuteAndWait(assembler, arguments, std::nullopt, redirects, 0, 0, &reason);
  if (code < 0)
    return userError("cannot run '" + assembler + "': " + reason);
  std::string cubin = out.read();
  if (code != 0 || cubin.empty())
    return internalError("'" + assembler + "' refuses the code for " + arch.str() + ": " +
                         llvm::StringRef(messages.read()).split('\n').first.str());
  return cubin;
}

} // namespace qwench::cuda
