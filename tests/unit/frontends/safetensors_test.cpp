#include "frontends/huggingface/safetensors.h"
#include "tests/unit/frontends/fixtures.h"

#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using testing::messageOf;
using testing::safetensorsFile;
using testing::TemporaryDirectory;

Result<std::vector<TensorView>> parse(const std::string &file) {
  return parseSafetensors(std::as_bytes(std::span(file)), "m");
}

TEST(Safetensors, givesEachTensorItsBytes) {
  std::string file = safetensorsFile(
      {{"z", "F32", {2, 1}, 8}, {"a", "BF16", {3}, 6}, {"scalar", "F16", {}, 2}, {"none", "I64", {0, 7}, 0}});
  Result<std::vector<TensorView>> views = parse(file);
  ASSERT_TRUE(views) << views.error().message;
  ASSERT_EQ(views->size(), 4u);
  const TensorView &z = (*views)[0], &a = (*views)[1], &scalar = (*views)[2];
  EXPECT_EQ(z.name, "z");
  EXPECT_EQ(z.dtype, DType::F32);
  EXPECT_EQ(z.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(z.bytes, 8u);
  EXPECT_EQ(z.data[0], std::byte{0});
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.data[0], std::byte{8});
  EXPECT_EQ(scalar.bytes, 2u);
  EXPECT_EQ(scalar.data[1], std::byte{15});
}

TEST(Safetensors, acceptsMetadataAndPadding) {
  std::string header =
      R"({"__metadata__": {"format": "pt"}, "t": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}      )";
  Result<std::vector<TensorView>> views = parse(safetensorsFile(header, 3));
  ASSERT_TRUE(views) << views.error().message;
  EXPECT_EQ(views->size(), 1u);
}

TEST(Safetensors, knowsTheSizeOfEveryType) {
  const std::pair<const char *, size_t> bytesOfEight[] = {
      {"BOOL", 8},    {"U8", 8},      {"I8", 8},      {"U16", 16},    {"I16", 16},
      {"U32", 32},    {"I32", 32},    {"U64", 64},    {"I64", 64},    {"F64", 64},
      {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64},
  };
  for (auto [dtype, bytes] : bytesOfEight) {
    Result<std::vector<TensorView>> views = parse(safetensorsFile({{"t", dtype, {8}, bytes}}));
    ASSERT_TRUE(views) << views.error().message;
    EXPECT_EQ(name((*views)[0].dtype), dtype);
  }
}

std::string header(const std::string &entry) { return "{\"t\": " + entry + "}"; }

TEST(Safetensors, truncatedFilesAreErrors) {
  std::string file = safetensorsFile({{"t", "F32", {4}, 16}});
  EXPECT_EQ(messageOf(parse("")), "m: expected at least 8 bytes of a safetensors file, found 0");
  EXPECT_EQ(messageOf(parse(file.substr(0, 5))),
            "m: expected at least 8 bytes of a safetensors file, found 5");
  size_t headerBytes = file.size() - 8 - 16;
  EXPECT_EQ(messageOf(parse(file.substr(0, 20))), "m: expected a header of " + std::to_string(headerBytes) +
                                                      " bytes, found a file of 20 bytes (truncated?)");
  EXPECT_EQ(messageOf(parse(file.substr(0, file.size() - 5))),
            "m: tensor \"t\": expected data up to byte 16, found a file with 11 bytes of data (truncated?)");
}

TEST(Safetensors, headerLongerThanAllowedIsAnError) {
  std::string file(8, '\xff');
  EXPECT_EQ(messageOf(parse(file)),
            "m: expected a header of at most 100000000 bytes, found a length of 18446744073709551615");
}

TEST(Safetensors, lfsPointerIsAnError) {
  EXPECT_EQ(messageOf(parse("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")),
            "m: expected a safetensors file, found a Git LFS pointer (the file itself was not downloaded)");
}

TEST(Safetensors, malformedHeadersAreErrors) {
  EXPECT_EQ(messageOf(parse(safetensorsFile("{\"t\": ", 0))),
            "m: malformed JSON: unexpected end at line 1, column 7");
  EXPECT_EQ(messageOf(parse(safetensorsFile("[]", 0))),
            "m: expected the header to be a JSON object, found a list of 0");
  EXPECT_EQ(messageOf(parse(safetensorsFile(R"({"__metadata__": {"a": 1}})", 0))),
            "m: expected __metadata__ to be an object of strings, found an object");
  std::string entry = R"({"dtype": "U8", "shape": [1], "data_offsets": [0, 1]})";
  EXPECT_EQ(messageOf(parse(safetensorsFile("{\"t\": " + entry + ", \"t\": " + entry + "}", 1))),
            "m: key \"t\" is given twice");
  EXPECT_EQ(messageOf(parse(safetensorsFile(header("{\"dtype\": \"U8\"}"), 0))),
            "m: tensor \"t\": expected an object of dtype, shape and data_offsets");
}

TEST(Safetensors, wrongTypesAndShapesAreErrors) {
  auto message = [](const std::string &dtype, const std::string &shape, const std::string &offsets) {
    return messageOf(parse(safetensorsFile(
        header("{\"dtype\": " + dtype + ", \"shape\": " + shape + ", \"data_offsets\": " + offsets + "}"),
        16)));
  };
  EXPECT_EQ(message("\"F33\"", "[4]", "[0, 16]"), "m: tensor \"t\": expected a known dtype, found \"F33\"");
  EXPECT_EQ(message("32", "[4]", "[0, 16]"), "m: tensor \"t\": expected a known dtype, found 32");
  EXPECT_EQ(message("\"F32\"", "4", "[0, 16]"),
            "m: tensor \"t\": expected shape to be a list of at most 16, found 4");
  EXPECT_EQ(message("\"F32\"", "[-4]", "[0, 16]"),
            "m: tensor \"t\": expected sizes of at least 0 in shape, found -4");
  EXPECT_EQ(message("\"F32\"", "[4294967296, 4294967296]", "[0, 16]"),
            "m: tensor \"t\": expected a size that fits into 64 bits, found shape [4294967296, 4294967296]");
  EXPECT_EQ(message("\"F32\"", "[5]", "[0, 16]"),
            "m: tensor \"t\": expected 20 bytes for F32 [5], found data_offsets of 16 bytes");
  EXPECT_EQ(message("\"F4\"", "[3]", "[0, 2]"),
            "m: tensor \"t\": expected 2 bytes for F4 [3], found data_offsets of 2 bytes");
  EXPECT_EQ(message("\"F32\"", "[4]", "[0]"),
            "m: tensor \"t\": expected data_offsets to be two numbers of at least 0, found a list of 1");
  EXPECT_EQ(message("\"F32\"", "[4]", "[16, 0]"),
            "m: tensor \"t\": expected data_offsets in ascending order, found [16, 0]");
  EXPECT_EQ(message("\"F32\"", "[4]", "[8, 24]"),
            "m: tensor \"t\": expected data up to byte 24, found a file with 16 bytes of data (truncated?)");
}

TEST(Safetensors, overlapsGapsAndLeftoversAreErrors) {
  auto message = [](int second, size_t bytes) {
    std::string header = R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                             "b": {"dtype": "U8", "shape": [4], "data_offsets": [)" +
                         std::to_string(second) + ", " + std::to_string(second + 4) + "]}}";
    return messageOf(parse(safetensorsFile(header, bytes)));
  };
  EXPECT_EQ(message(4, 8), "no error");
  EXPECT_EQ(message(2, 8),
            "m: tensor \"b\": expected data at byte 4, found data at byte 2 (tensors overlap)");
  EXPECT_EQ(message(6, 10),
            "m: tensor \"b\": expected data at byte 4, found data at byte 6 (a gap between tensors)");
  EXPECT_EQ(message(4, 9), "m: expected 8 bytes of data as the header says, found 9");
}

TEST(SafetensorsFile, mapsAndFindsAndSurvivesCopies) {
  TemporaryDirectory directory;
  directory.write("m.safetensors", safetensorsFile({{"a", "U8", {5000}, 5000}, {"b", "U8", {5000}, 5000}}));
  SafetensorsFile copy = [&] {
    Result<SafetensorsFile> file = SafetensorsFile::open(directory.path("m.safetensors"));
    EXPECT_TRUE(file) << messageOf(file);
    return *file;
  }();
  const TensorView *b = copy.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(copy.find("c"), nullptr);
  std::byte before = b->data[4999];
  adviseSequential(*b);
  release(*b);
  EXPECT_EQ(b->data[4999], before) << "released pages come back from the file";
}

/// Bytes of mapped files that are in memory for this process.
size_t residentFileBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "RssFile:") {
      size_t kibibytes = 0;
      status >> kibibytes;
      return kibibytes << 10;
    }
  return 0;
}

TEST(SafetensorsFile, streamingWithReleaseStaysWithinTwoTensorsOfMemory) {
  constexpr size_t tensors = 16, bytes = 4 << 20;
  TemporaryDirectory directory;
  testing::Json header = testing::Json::object();
  for (size_t i = 0; i < tensors; ++i)
    header["t" + std::to_string(i)] = {
        {"dtype", "U8"}, {"shape", {bytes}}, {"data_offsets", {i * bytes, (i + 1) * bytes}}};
  std::string front = safetensorsFile(header.dump(), 0);
  directory.write("big", front);
  std::filesystem::resize_file(directory.path("big"), front.size() + tensors * bytes);
  Result<SafetensorsFile> file = SafetensorsFile::open(directory.path("big"));
  ASSERT_TRUE(file) << messageOf(file);
  size_t before = residentFileBytes(), peak = 0;
  unsigned sum = 0;
  for (const TensorView &view : file->tensors()) {
    adviseSequential(view);
    for (size_t at = 0; at < view.bytes; at += 4096)
      sum += static_cast<unsigned>(view.data[at]);
    peak = std::max(peak, residentFileBytes());
    release(view);
  }
  EXPECT_EQ(sum, 0u);
  EXPECT_GE(peak, before + bytes / 2) << "the tensors were read";
  EXPECT_LE(peak, before + 2 * bytes);
}

TEST(SafetensorsFile, thatCannotBeMappedIsAnError) {
  TemporaryDirectory directory;
  EXPECT_EQ(messageOf(SafetensorsFile::open(directory.path("none"))),
            "cannot open " + directory.path("none") + ": No such file or directory");
  EXPECT_EQ(messageOf(SafetensorsFile::open(directory.path())),
            "expected a file, found something else at " + directory.path());
  directory.write("empty", "");
  EXPECT_EQ(messageOf(SafetensorsFile::open(directory.path("empty"))),
            directory.path("empty") + ": expected at least 8 bytes of a safetensors file, found 0");
}

} // namespace
} // namespace qwench::hf
