// Images need nothing but libc and libm; outputs are whole or not there; bundles read back, and damaged ones
// do not.
#include "compiler/link/bundle.h"
#include "compiler/link/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <malloc.h>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

using namespace qwench;
using namespace qwench::link;
using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

namespace {

class Directory {
public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "qwench-link-XXXXXX").string();
    root = mkdtemp(name.data());
  }
  ~Directory() { fs::remove_all(root); }
  std::string operator/(const std::string &name) const { return (root / name).string(); }
  size_t files() const { return std::distance(fs::directory_iterator(root), fs::directory_iterator()); }

private:
  fs::path root;
};

std::string output(const std::string &command) {
  std::string text;
  FILE *pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  while (size_t count = fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), count);
  pclose(pipe);
  return text;
}

/// Names after NEEDED of an ELF file.
std::set<std::string> needed(const std::string &file) {
  std::string text = output("llvm-readelf-22 -d '" + file + "' 2>&1");
  std::set<std::string> names;
  for (size_t at = 0; (at = text.find("(NEEDED)", at)) != std::string::npos; at++) {
    size_t open = text.find('[', at), close = text.find(']', open);
    names.insert(text.substr(open + 1, close - open - 1));
  }
  return names;
}

std::string read(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// A kit whose runtime archives are empty: the test's object has a main of its own.
Kit testKit() {
  Result<Kit> kit = Kit::open(QWENCH_TEST_KIT);
  EXPECT_TRUE(kit) << kit.error().message;
  return kit.take();
}

void linkTo(Output output, const std::string &path, int threads) {
  Result<std::string> image = linkImage(testKit(), {output, QWENCH_TEST_OBJECT, threads});
  ASSERT_TRUE(image) << image.error().message;
  std::ofstream(path, std::ios::binary) << *image;
  fs::permissions(path, fs::perms::owner_all);
}

} // namespace

TEST(Link, AnExecutableNeedsNothingButLibcAndLibm) {
  Directory directory;
  for (const char *name : {"a", "b"})
    linkTo(Output::Executable, directory / name, 2);
  EXPECT_EQ(output(directory / "a"), "caught 0.841\n");
  for (const std::string &name : needed(directory / "a"))
    EXPECT_TRUE(name == "libc.so.6" || name == "libm.so.6" || name == "ld-linux-x86-64.so.2") << name;
  EXPECT_TRUE(needed(directory / "a").count("libc.so.6"));
  EXPECT_TRUE(read(directory / "a") == read(directory / "b")) << "two links of one object differ";
}

TEST(Link, ASharedObjectExportsTheInterfaceOnly) {
  Directory directory;
  linkTo(Output::SharedObject, directory / "a.so", 1);
  std::string symbols = output("llvm-nm-22 -D --defined-only '" + (directory / "a.so") + "' 2>&1");
  EXPECT_THAT(symbols, HasSubstr(" T qwench_open"));
  EXPECT_EQ(std::count(symbols.begin(), symbols.end(), '\n'), 13) << symbols;
}

TEST(Link, ASharedObjectLeavesNoMemoryBehind) {
  Directory directory;
  linkTo(Output::SharedObject, directory / "a.so", 1);
  auto loadAndUnload = [&] {
    void *object = dlopen((directory / "a.so").c_str(), RTLD_NOW);
    EXPECT_TRUE(object && dlclose(object) == 0) << dlerror();
    return mallinfo2().uordblks;
  };
  size_t once = loadAndUnload(), twice = loadAndUnload();
  EXPECT_LT(twice, once + (16 << 10)); // libstdc++ alone would hold 72 kB, the loader keeps some
}

TEST(Link, ALinkThatFailsSaysWhy) {
  Directory directory;
  Result<std::string> image = linkImage(testKit(), {Output::Executable, directory / "none.o", 1});
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().fault, Error::Fault::Internal);
  EXPECT_THAT(image.error().message, HasSubstr("none.o"));
}

TEST(Link, AKitWithoutAFileSaysWhich) {
  Result<Kit> kit = Kit::open("/nowhere");
  ASSERT_FALSE(kit);
  EXPECT_THAT(kit.error().message, StartsWith("expected 'Scrt1.o' in '/nowhere', found nothing"));
}

TEST(Link, SanitizersOfTheKitAreForExecutables) {
  Directory directory;
  for (const auto &entry : fs::directory_iterator(QWENCH_TEST_KIT))
    fs::create_symlink(entry.path(), directory / entry.path().filename().string());
  std::ofstream(directory / "sanitizers.args") << "--undefined=first\n--no-such-argument\n";
  Result<Kit> kit = Kit::open(directory / "");
  ASSERT_TRUE(kit) << kit.error().message;
  Result<std::string> executable = linkImage(*kit, {Output::Executable, QWENCH_TEST_OBJECT, 1});
  ASSERT_FALSE(executable);
  EXPECT_THAT(executable.error().message, HasSubstr("--no-such-argument"));
  Result<std::string> shared = linkImage(*kit, {Output::SharedObject, QWENCH_TEST_OBJECT, 1});
  EXPECT_TRUE(shared) << shared.error().message;
}

TEST(OutputFile, IsThereOnlyAfterCommit) {
  Directory directory;
  {
    Result<OutputFile> file = OutputFile::create(directory / "out");
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->append("text"));
    EXPECT_FALSE(fs::exists(directory / "out"));
    EXPECT_EQ(file->temporary(), (directory / "out.tmp-") + std::to_string(getpid()));
  }
  EXPECT_EQ(directory.files(), 0u);
  Result<OutputFile> file = OutputFile::create(directory / "out");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append("text"));
  ASSERT_TRUE(file->commit(true));
  EXPECT_EQ(read(directory / "out"), "text");
  EXPECT_EQ(directory.files(), 1u);
  EXPECT_EQ(access((directory / "out").c_str(), X_OK), 0);
}

TEST(OutputFile, ASignalRemovesWhatIsHalfWritten) {
  Directory directory;
  for (int signal : {SIGINT, SIGTERM}) {
    pid_t child = fork();
    if (child == 0) {
      Result<OutputFile> file = OutputFile::create(directory / "out");
      if (!file || !file->append("half"))
        _exit(3);
      raise(signal);
      _exit(4);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_EQ(directory.files(), 0u);
  }
}

TEST(OutputFile, SaysWhatIsInTheWay) {
  Directory directory;
  fs::create_directory(directory / "folder");
  auto message = [](const std::string &path) {
    Result<OutputFile> file = OutputFile::create(path);
    return file ? "" : file.error().message;
  };
  EXPECT_EQ(message(directory / "folder"),
            "cannot write '" + (directory / "folder") + "': it is a directory");
  EXPECT_EQ(message(directory / "no/out"),
            "cannot write '" + (directory / "no/out") + "': No such file or directory");
  EXPECT_EQ(message("/dev/full"), "cannot write '/dev/full': it is not a regular file");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST(OutputFile, AFullDeviceIsAnError) {
  Result<OutputFile> file = OutputFile::create("/dev/full", /*direct=*/true);
  ASSERT_TRUE(file);
  Status status = file->append("text");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "cannot write '/dev/full': No space left on device");
}

namespace {

/// A file with an image of 5000 bytes, weights and metadata.
std::string writeBundle(const Directory &directory) {
  Result<OutputFile> file = OutputFile::create(directory / "model");
  EXPECT_TRUE(file && file->append(std::string(5000, 'E')));
  BundleWriter bundle(*file, 42);
  Result<uint64_t> weights = bundle.reserve(QWENCH_SECTION_WEIGHTS, 10000);
  EXPECT_TRUE(weights && *weights == 8192);
  EXPECT_TRUE(file->write("WWWW", *weights));
  EXPECT_TRUE(bundle.append(QWENCH_SECTION_METADATA, "{\"name\": \"x\"}"));
  EXPECT_TRUE(bundle.finish());
  EXPECT_TRUE(file->commit(true));
  return directory / "model";
}

std::string bundleError(const std::string &path) {
  Result<BundleIndex> index = readBundle(path);
  if (!index)
    return index.error().message;
  for (const QwenchSection &section : index->sections)
    if (section.kind != QWENCH_SECTION_WEIGHTS)
      if (Result<std::string> bytes = readSection(path, section); !bytes)
        return bytes.error().message;
  return "";
}

} // namespace

TEST(Bundle, ReadsBackWhatWasWritten) {
  Directory directory;
  std::string path = writeBundle(directory);
  Result<BundleIndex> index = readBundle(path);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->planHash, 42u);
  EXPECT_EQ(index->fileBytes, fs::file_size(path));
  ASSERT_EQ(index->sections.size(), 2u);
  EXPECT_EQ(index->sections[0].bytes, 10000u);
  EXPECT_EQ(read(path).substr(8192, 5), std::string("WWWW\0", 5));
  EXPECT_EQ(index->sections[1].offset % QWENCH_BUNDLE_ALIGN, 0u);
  Result<std::string> metadata = readSection(path, index->sections[1]);
  ASSERT_TRUE(metadata);
  EXPECT_EQ(*metadata, "{\"name\": \"x\"}");
}

TEST(Bundle, EveryTruncationIsAnError) {
  Directory directory;
  std::string path = writeBundle(directory);
  uint64_t size = fs::file_size(path);
  for (uint64_t bytes : {size - 1, size - 8, size - 100, uint64_t(4096), uint64_t(1), uint64_t(0)}) {
    fs::resize_file(path, bytes);
    EXPECT_NE(bundleError(path), "") << bytes;
  }
}

TEST(Bundle, EveryDamagedByteThatIsCheckedIsAnError) {
  Directory directory;
  std::string path = writeBundle(directory), whole = read(path);
  auto expectDamage = [&](size_t first, size_t end) {
    for (size_t at = first; at < end; at++) {
      std::string damaged = whole;
      damaged[at] ^= 0x40;
      std::ofstream(path, std::ios::binary) << damaged;
      EXPECT_NE(bundleError(path), "") << at;
    }
  };
  size_t metadata = 20480, table = metadata + 4096, trailer = whole.size() - sizeof(QwenchBundleTrailer);
  expectDamage(metadata, metadata + 13);
  expectDamage(table + sizeof(QwenchSection) + 8,
               table + 2 * sizeof(QwenchSection)); // place and checksum of metadata
  expectDamage(trailer + 8, whole.size());         // all but the plan hash
}

TEST(Bundle, OtherFilesAreNoCompiledModels) {
  Directory directory;
  std::ofstream(directory / "text") << std::string(1000, 'x');
  EXPECT_THAT(bundleError(directory / "text"), HasSubstr("not made by qwench"));
  EXPECT_THAT(bundleError(directory / "none"), HasSubstr("No such file"));
  EXPECT_THAT(bundleError("/dev/zero"), HasSubstr("not made by qwench"));
}
