#include "compiler/link/link.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

LLD_HAS_DRIVER(elf)

namespace qwench::link {

namespace {

std::vector<std::string> arguments(const Kit &kit, const LinkOptions &options) {
  bool shared = options.output == Output::SharedObject;
  std::vector<std::string> args = {"-m",
                                   "elf_x86_64",
                                   "--eh-frame-hdr",
                                   "--hash-style=gnu",
                                   "--build-id=none",
                                   "--gc-sections",
                                   "--strip-debug",
                                   "-z",
                                   "relro",
                                   "-z",
                                   "now",
                                   "-z",
                                   "noexecstack",
                                   "--threads=" + std::to_string(options.threads)};
  auto add = [&](std::initializer_list<std::string> more) { args.insert(args.end(), more); };
  std::vector<std::string> sanitizers = kit.sanitizerArguments();
  if (shared) {
    // At its end the object returns the memory that libstdc++ holds for exceptions when there is none left.
    add({"-shared", "-Bsymbolic", "--version-script=" + kit.path("exports.map"), "--undefined=qwench_open",
         "-fini=_ZN9__gnu_cxx9__freeresEv"});
    if (sanitizers.empty()) // with sanitizers, the program that loads it has their runtime
      add({"--no-undefined"});
  } else
    add({"-pie", "-dynamic-linker", "/lib64/ld-linux-x86-64.so.2", kit.path("Scrt1.o")});
  add({kit.path("crti.o"), kit.path("crtbeginS.o")});
  if (!shared)
    args.insert(args.end(), sanitizers.begin(), sanitizers.end());
  add({options.object, "--start-group"});
  if (!shared)
    add({kit.path("libqwench_app.a")});
  add({kit.path("libqwench_runtime.a"), kit.path("libstdc++.a"), kit.path("libgcc.a"),
       kit.path("libgcc_eh.a"), "--end-group", "--as-needed", kit.path("libm.so.6"), kit.path("libc.so.6"),
       kit.path("libc_nonshared.a"), kit.path("ld-linux-x86-64.so.2"), kit.path("crtendS.o"),
       kit.path("crtn.o")});
  return args;
}

/// lld's first complaint, without its own name and the word error.
std::string firstError(llvm::StringRef text) {
  llvm::StringRef line = text.ltrim().split('\n').first;
  line.consume_front("ld.lld: ");
  line.consume_front("error: ");
  return line.empty() ? "no reason given" : line.str();
}

/// A pipe that collects what is written to its path. lld writes straight to a file that is no regular one.
class Collector {
public:
  Collector() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
      return;
    in = ends[1];
    reader = std::thread([this, out = ends[0]] { collect(out); });
  }
  Collector(const Collector &) = delete;
  ~Collector() { finish(); }

  bool valid() const { return in >= 0; }
  std::string path() const { return "/proc/self/fd/" + std::to_string(in); }
  /// Waits until nobody can write any more.
  std::string finish() {
    if (reader.joinable()) {
      close(in);
      reader.join();
    }
    return std::move(bytes);
  }

private:
  void collect(int out) {
    std::vector<char> block(1 << 16);
    for (;;) {
      ssize_t count = read(out, block.data(), block.size());
      if (count < 0 && errno == EINTR)
        continue;
      if (count <= 0)
        break;
      bytes.append(block.data(), count);
    }
    close(out);
  }

  int in = -1;
  std::string bytes;
  std::thread reader;
};

/// Runs lld with everything but its own name and the output. Gives the bytes of the output.
Result<std::string> run(std::vector<std::string> args, const char *what) {
  Collector collector;
  if (!collector.valid())
    return userError(std::string("cannot make a pipe: ") + strerror(errno));
  args.insert(args.end(), {"-o", collector.path()});
  std::vector<const char *> pointers = {"ld.lld"};
  for (const std::string &arg : args)
    pointers.push_back(arg.c_str());
  std::string complaints;
  llvm::raw_string_ostream errors(complaints);
  lld::Result result = lld::lldMain(pointers, llvm::nulls(), errors, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return internalError(std::string("cannot link ") + what + ": " + firstError(complaints));
  return collector.finish();
}

} // namespace

MemoryFile::MemoryFile(std::string_view bytes) : descriptor(memfd_create("model.o", MFD_CLOEXEC)) {
  while (descriptor >= 0 && !bytes.empty()) {
    ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0) {
      close(descriptor);
      descriptor = -1;
      return;
    }
    bytes.remove_prefix(count);
  }
}

MemoryFile::~MemoryFile() {
  if (descriptor >= 0)
    close(descriptor);
}

Result<std::string> linkImage(const Kit &kit, const LinkOptions &options) {
  return run(arguments(kit, options), "the model");
}

Result<std::string> linkCodeObject(std::string_view object) {
  MemoryFile file(object);
  if (!file.valid())
    return userError("cannot hold the object file in memory");
  return run({"-shared", "--no-undefined", file.path()}, "the code object");
}

} // namespace qwench::link
