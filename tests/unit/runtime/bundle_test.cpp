#include "runtime/abi/xxh64.h"
#include "runtime/core/bundle.h"
#include "runtime/core/model_file.h"
#include "runtime/core/random.h"
#include "tests/unit/runtime/fake_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

namespace qwench {
namespace {

using testing::HasSubstr;

constexpr uint64_t kHash = 77;

std::string sample() {
  return fake::bundleBytes({{QWENCH_SECTION_METADATA, "{}"},
                            {QWENCH_SECTION_WEIGHTS, std::string(9000, 'w')},
                            {99, "of a later version"}},
                           kHash);
}

QwenchBundleTrailer trailerOf(const std::string &bytes) {
  QwenchBundleTrailer trailer;
  memcpy(&trailer, bytes.data() + bytes.size() - sizeof trailer, sizeof trailer);
  return trailer;
}

std::string withTrailer(std::string bytes, const QwenchBundleTrailer &trailer) {
  memcpy(bytes.data() + bytes.size() - sizeof trailer, &trailer, sizeof trailer);
  return bytes;
}

/// The bytes with a section's entry changed.
template <typename Change> std::string withSection(std::string bytes, size_t index, Change change) {
  QwenchSection section;
  char *at = bytes.data() + trailerOf(bytes).table_offset + index * sizeof section;
  memcpy(&section, at, sizeof section);
  change(section);
  memcpy(at, &section, sizeof section);
  return bytes;
}

/// The error of opening these bytes; "" if there is none.
std::string errorOf(const std::string &bytes, uint64_t hash = kHash) {
  fake::TemporaryFile file(bytes);
  Result<Bundle> bundle = Bundle::open(file.path(), hash);
  return bundle ? "" : bundle.error().message;
}

TEST(Bundle, ReadsBackWhatWasWritten) {
  fake::TemporaryFile file(sample());
  Result<Bundle> bundle = Bundle::open(file.path(), kHash);
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_EQ(bundle->sections().size(), 3u);
  EXPECT_EQ(*bundle->read(QWENCH_SECTION_METADATA), "{}");
  EXPECT_EQ(bundle->find(QWENCH_SECTION_WEIGHTS)->bytes, 9000u);
  EXPECT_THAT(bundle->read(QWENCH_SECTION_TOKENIZER).error().message, HasSubstr("has no tokenizer section"));
}

TEST(Bundle, CutShortAnywhereIsAnError) {
  const std::string bytes = sample();
  const uint64_t table = trailerOf(bytes).table_offset;
  std::vector<size_t> cuts = {0, 1, 4, 4096, 8192, 12000, size_t(table), size_t(table) + 40};
  for (size_t back = 1; back <= sizeof(QwenchBundleTrailer) + 1; ++back)
    cuts.push_back(bytes.size() - back);
  for (size_t cut : cuts)
    EXPECT_THAT(errorOf(bytes.substr(0, cut)), HasSubstr("no model data at its end")) << cut;
  EXPECT_THAT(errorOf(bytes + "x"), HasSubstr("no model data at its end"));
}

TEST(Bundle, EveryFieldOfTheTrailerIsChecked) {
  const std::string bytes = sample();
  const QwenchBundleTrailer good = trailerOf(bytes);
  auto broken = [&](auto change, uint64_t hash = kHash) {
    QwenchBundleTrailer trailer = good;
    change(trailer);
    return errorOf(withTrailer(bytes, trailer), hash);
  };
  EXPECT_EQ(broken([](auto &) {}), "");
  EXPECT_THAT(broken([](auto &t) { t.magic[3] = 'x'; }), HasSubstr("no model data at its end"));
  EXPECT_THAT(broken([](auto &t) { t.version = 2; }), HasSubstr("bundle version: expected 1, found 2"));
  EXPECT_THAT(broken([](auto &t) { t.file_bytes += 1; }), HasSubstr("file size: expected"));
  EXPECT_THAT(broken([](auto &t) { t.file_bytes = 0; }), HasSubstr("file size: expected 0"));
  EXPECT_THAT(broken([](auto &t) { t.section_count = 17; }), HasSubstr("at most 16 sections, found 17"));
  EXPECT_THAT(broken([](auto &t) { t.section_count = 4; }), HasSubstr("section table"));
  EXPECT_THAT(broken([](auto &t) { t.section_count = UINT32_MAX; }), HasSubstr("at most 16"));
  EXPECT_THAT(broken([](auto &t) { t.table_offset = UINT64_MAX - 10; }), HasSubstr("section table"));
  EXPECT_THAT(broken([](auto &t) { t.table_offset = t.file_bytes; }), HasSubstr("section table"));
  EXPECT_THAT(broken([](auto &t) { t.plan_hash = 5; }),
              HasSubstr("expected plan hash 000000000000004d, found 0000000000000005"));
}

TEST(Bundle, EveryFieldOfASectionIsChecked) {
  const std::string bytes = sample();
  auto broken = [&](size_t index, auto change) { return errorOf(withSection(bytes, index, change)); };
  EXPECT_EQ(broken(0, [](auto &) {}), "");
  EXPECT_THAT(broken(0, [](auto &s) { s.reserved = 1; }), HasSubstr("reserved field: expected 0, found 1"));
  EXPECT_THAT(broken(0, [](auto &s) { s.offset += 8; }), HasSubstr("multiple of 4096"));
  EXPECT_THAT(broken(1, [](auto &s) { s.offset = uint64_t(1) << 60; }), HasSubstr("reach past"));
  EXPECT_THAT(broken(1, [](auto &s) { s.bytes = UINT64_MAX; }), HasSubstr("reach past"));
  EXPECT_THAT(broken(1, [](auto &s) { s.bytes += 3300; }), HasSubstr("overlap"));
  EXPECT_THAT(broken(0, [](auto &s) { s.bytes = 5000; }), HasSubstr("metadata and weights sections overlap"));
  EXPECT_THAT(broken(0, [](auto &s) { s.kind = QWENCH_SECTION_WEIGHTS; }), HasSubstr("two weights sections"));
}

TEST(Bundle, AWrongChecksumIsFoundWhenTheSectionIsRead) {
  for (const std::string &bytes : {withSection(sample(), 0, [](auto &s) { s.checksum ^= 1; }), [] {
                                     std::string flipped = sample();
                                     flipped[QWENCH_BUNDLE_ALIGN] ^= 1;
                                     return flipped;
                                   }()}) {
    fake::TemporaryFile file(bytes);
    Result<Bundle> bundle = Bundle::open(file.path(), kHash);
    ASSERT_TRUE(bundle);
    EXPECT_THAT(bundle->read(QWENCH_SECTION_METADATA).error().message,
                HasSubstr("metadata section: expected checksum"));
  }
}

TEST(Bundle, RandomDamageNeverCrashes) {
  const std::string bytes = sample();
  Random random(11);
  const size_t from = trailerOf(bytes).table_offset;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = bytes;
    for (int j = 0; j < 3; ++j)
      damaged[from + random.next() % (damaged.size() - from)] = static_cast<char>(random.next());
    errorOf(damaged);
  }
}

TEST(Bundle, MissingFilesAndDirectoriesAreErrors) {
  EXPECT_THAT(Bundle::open("/nowhere/x", 0).error().message, HasSubstr("No such file"));
  EXPECT_THAT(Bundle::open("/tmp", 0).error().message, HasSubstr("expected a regular file"));
}

std::string modelError(const std::string &bytes) {
  fake::TemporaryFile file(bytes);
  Result<ModelFile> model = ModelFile::open(qwench_program, file.path());
  return model ? "" : model.error().message;
}

TEST(ModelFile, WeightsOfTheWrongSizeAreRefused) {
  EXPECT_EQ(modelError(fake::modelBytes()), "");
  const uint64_t hash = qwench_program.plan_hash;
  EXPECT_THAT(modelError(fake::bundleBytes({{QWENCH_SECTION_WEIGHTS, "short"}}, hash)),
              HasSubstr("expected 5000 bytes of weights, found 5"));
  EXPECT_THAT(modelError(fake::bundleBytes({{QWENCH_SECTION_METADATA, "{}"}}, hash)),
              HasSubstr("has no weights section"));
}

TEST(ModelFile, ExternalWeightsLieBesideTheFile) {
  const uint64_t hash = qwench_program.plan_hash;
  fake::TemporaryFile weights(fake::bundleBytes({{QWENCH_SECTION_WEIGHTS, fake::weights()}}, hash));
  const std::string name = weights.path().substr(weights.path().rfind('/') + 1);
  auto with = [&](const std::string &file) {
    return fake::bundleBytes({{QWENCH_SECTION_METADATA, "{\"external_weights\": \"" + file + "\"}"}}, hash);
  };
  EXPECT_EQ(modelError(with(name)), "");
  EXPECT_THAT(modelError(with(name + "x")), HasSubstr("No such file"));
  EXPECT_THAT(modelError(with("../tmp/" + name)), HasSubstr("a file name without directories"));
  EXPECT_THAT(modelError(with("..")), HasSubstr("a file name without directories"));
}

TEST(ModelFile, WeightsOfAFileCountBeforeRandomOnes) {
  const std::string metadata = R"({"random_weights": {"seed": 1, "tensors": []}})";
  for (bool inside : {false, true}) {
    std::vector<fake::Part> parts = {{QWENCH_SECTION_METADATA, metadata}};
    if (inside)
      parts.push_back({QWENCH_SECTION_WEIGHTS, fake::weights()});
    fake::TemporaryFile file(fake::bundleBytes(parts, qwench_program.plan_hash));
    Result<ModelFile> model = ModelFile::open(qwench_program, file.path());
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->weights().file != nullptr, inside);
  }
}

TEST(ModelFile, BadMetadataIsRefused) {
  auto with = [](const std::string &text) {
    return modelError(
        fake::bundleBytes({{QWENCH_SECTION_METADATA, text}, {QWENCH_SECTION_WEIGHTS, fake::weights()}},
                          qwench_program.plan_hash));
  };
  EXPECT_EQ(with("{}"), "");
  EXPECT_THAT(with("{"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(with("[]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(with(std::string(100000, '[')), HasSubstr("expected a JSON object"));
  EXPECT_THAT(with(R"({"name": 3})"), HasSubstr("expected a string at 'name'"));
  EXPECT_THAT(with(R"({"generation": {"temperature": "hot"}})"), HasSubstr("'temperature'"));
  EXPECT_THAT(with(R"({"generation": {"top_k": -1}})"), HasSubstr("'top_k'"));
  EXPECT_THAT(with(R"({"generation": {"eos_token_ids": [-1]}})"), HasSubstr("token ids"));
  const std::string tensor =
      R"({"random_weights": {"seed": 1, "tensors": [{"name": "a", "dtype": "bf16", "std": 1,)";
  EXPECT_EQ(with(tensor + R"("offset": 10, "bytes": 20}]}})"), "");
  EXPECT_THAT(with(tensor + R"("offset": 4990, "bytes": 12}]}})"),
              HasSubstr("within 5000 bytes for tensor a"));
  EXPECT_THAT(with(tensor + R"("offset": 18446744073709551614, "bytes": 4}]}})"),
              HasSubstr("within 5000 bytes"));
  EXPECT_THAT(with(tensor + R"("offset": 1, "bytes": 4}]}})"), HasSubstr("whole elements"));
}

TEST(Xxh64, EqualsThePublishedValues) {
  // Test vectors of the specification's sanity buffer are those of the reference implementation.
  EXPECT_EQ(qwench_xxh64(nullptr, 0, 0), 0xEF46DB3751D8E999ull);
  EXPECT_EQ(qwench_xxh64("a", 1, 0), 0xD24EC4F1A98C6E5Bull);
  EXPECT_EQ(qwench_xxh64("abc", 3, 0), 0x44BC2CF5AD770999ull);
  const char *text = "Nobody inspects the spammish repetition";
  EXPECT_EQ(qwench_xxh64(text, strlen(text), 0), 0xFBCEA83C8A378BF1ull);
}

} // namespace
} // namespace qwench
