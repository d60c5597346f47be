// --emit=shared: the data stands behind the shared object, and each object finds its own.
#include "runtime/abi/qwench.h"
#include "tests/unit/runtime/fake_program.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

namespace qwench {
namespace {

struct Library {
  explicit Library(const std::string &path) : handle(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_NE(handle, nullptr) << dlerror();
  }
  ~Library() { dlclose(handle); }
  template <typename Function> Function *find(const char *name) {
    void *symbol = dlsym(handle, name);
    EXPECT_NE(symbol, nullptr) << name;
    return reinterpret_cast<Function *>(symbol);
  }
  void *handle;
};

std::vector<float> logitsAfter(Library &library, const std::vector<int32_t> &tokens) {
  QwenchSession *session = nullptr;
  QwenchOptions options = QWENCH_OPTIONS_INIT;
  options.threads = 2;
  EXPECT_EQ(library.find<decltype(qwench_open)>("qwench_open")(&options, &session), 0)
      << library.find<decltype(qwench_last_error)>("qwench_last_error")();
  std::vector<float> out(tokens.size() * fake::kVocabulary);
  EXPECT_EQ(library.find<decltype(qwench_prefill_logits)>("qwench_prefill_logits")(
                session, 0, tokens.data(), static_cast<int64_t>(tokens.size()), out.data()),
            0);
  library.find<decltype(qwench_close)>("qwench_close")(session);
  return {out.end() - fake::kVocabulary, out.end()};
}

TEST(SharedObject, TwoModelsInOneProcessFindTheirOwnWeights) {
  const std::string code = fake::readFile(FAKE_SHARED);
  std::string other = fake::weights();
  other[17] ^= 1;
  fake::TemporaryFile first(fake::modelBytes(code));
  fake::TemporaryFile second(
      fake::bundleBytes({{QWENCH_SECTION_WEIGHTS, other}}, qwench_program.plan_hash, code));
  Library a(first.path()), b(second.path());
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
  EXPECT_EQ(logitsAfter(a, tokens), fake::expectedLogits(tokens));
  EXPECT_NE(logitsAfter(b, tokens), fake::expectedLogits(tokens));
  EXPECT_EQ(logitsAfter(a, tokens), fake::expectedLogits(tokens));
}

TEST(SharedObject, ExportsOnlyTheInterface) {
  Library library(FAKE_SHARED);
  EXPECT_EQ(dlsym(library.handle, "qwench_team_barrier"), nullptr);
}

} // namespace
} // namespace qwench
