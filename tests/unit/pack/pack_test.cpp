// The packed section is what the layout's formula says, byte for byte, with any number of threads.
#include "compiler/pack/pack.h"
#include "dialects/Qwen.h"
#include "dialects/quantization/codes.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

using namespace qwench;
using namespace qwench::pack;
using hf::DType;
using quantization::toBF16;
using testing::HasSubstr;

namespace {

struct Tensor {
  DType type;
  std::vector<int64_t> shape;
  std::vector<float> values; ///< what the stored bits mean
  std::vector<std::byte> bytes;
};

/// Random tensors of any of the three types, one byte off any alignment.
Tensor makeTensor(DType type, std::vector<int64_t> shape, unsigned seed) {
  Tensor tensor{type, shape, {}, {}};
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  tensor.bytes.resize(1 + count * (type == DType::F32 ? 4 : 2));
  std::byte *to = tensor.bytes.data() + 1;
  for (int64_t i = 0; i < count; i++) {
    float value = normal(random);
    if (type == DType::F32) {
      std::memcpy(to + 4 * i, &value, 4);
    } else if (type == DType::BF16) {
      uint16_t bits = toBF16(value);
      std::memcpy(to + 2 * i, &bits, 2);
      uint32_t wide = static_cast<uint32_t>(bits) << 16;
      std::memcpy(&value, &wide, 4);
    } else {
      _Float16 half = static_cast<_Float16>(value);
      std::memcpy(to + 2 * i, &half, 2);
      value = static_cast<float>(half);
    }
    tensor.values.push_back(value);
  }
  return tensor;
}

class MapSource : public TensorSource {
public:
  std::map<std::string, Tensor, std::less<>> tensors;
  mutable std::mutex mutex;
  mutable std::multiset<std::string> released;

  void add(const std::string &name, DType type, std::vector<int64_t> shape) {
    tensors[name] = makeTensor(type, shape, tensors.size() + 1);
  }
  Result<hf::TensorView> find(std::string_view name) const override {
    auto it = tensors.find(name);
    if (it == tensors.end())
      return userError("no tensor '" + std::string(name) + "'");
    return hf::TensorView{it->first, it->second.type, it->second.shape, it->second.bytes.data() + 1,
                          it->second.bytes.size() - 1};
  }
  void release(const hf::TensorView &view) const override {
    std::lock_guard lock(mutex);
    released.insert(view.name);
  }
};

struct Packer {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  MapSource source;

  explicit Packer(const std::string &text) {
    context.loadDialect<qwen::QwenDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!module)
      std::abort(); // the test's own text
  }
  std::vector<uint8_t> pack(int threads, uint64_t offset = 0) {
    Result<PackPlan> plan = planPacking(*module, source);
    if (!plan) {
      ADD_FAILURE() << plan.error().message;
      return {};
    }
    int fd = memfd_create("section", 0);
    EXPECT_EQ(0, ftruncate(fd, offset + plan->extent));
    PackOptions options;
    options.descriptor = fd, options.offset = offset, options.threads = threads;
    uint64_t last = 0, total = 0;
    options.progress = [&](uint64_t done, uint64_t all) { last = std::max(last, done), total = all; };
    Status status = runPacking(*plan, source, options);
    EXPECT_TRUE(status) << status.error().message;
    EXPECT_EQ(last, plan->bytes);
    EXPECT_EQ(total, plan->bytes);
    std::vector<uint8_t> bytes(plan->extent);
    EXPECT_EQ(static_cast<ssize_t>(bytes.size()), pread(fd, bytes.data(), bytes.size(), offset));
    close(fd);
    return bytes;
  }
};

/// `values` [N, K] laid out element by element as the dialect's documentation writes it.
std::vector<uint8_t> reference(const std::vector<float> &values, int64_t N, int64_t K, bool panels,
                               int64_t width, int64_t depth, int64_t align, bool pairs, bool bf16) {
  int64_t padK = (K + align - 1) / align * align, size = bf16 ? 2 : 4;
  int64_t half = N / 2, padHalf = (half + width - 1) / width * width;
  int64_t padN = pairs ? 2 * padHalf : (N + width - 1) / width * width;
  std::vector<uint8_t> bytes(padN * padK * size, 0);
  for (int64_t n = 0; n < N; n++)
    for (int64_t k = 0; k < K; k++) {
      int64_t lane = n; // the row's place in the order of lanes
      if (pairs)
        lane = (n % half) / (width / 2) * width + (n / half) * (width / 2) + (n % half) % (width / 2);
      int64_t place =
          panels ? ((lane / width * (padK / depth) + k / depth) * width + lane % width) * depth + k % depth
                 : n * padK + k;
      float value = values[n * K + k];
      uint16_t narrow = toBF16(value);
      if (bf16)
        std::memcpy(&bytes[place * size], &narrow, 2);
      else
        std::memcpy(&bytes[place * size], &value, 4);
    }
  return bytes;
}

std::string layoutText(bool panels, int64_t width, int64_t depth, int64_t align, bool pairs) {
  return std::string("#qwen.layout<") + (panels ? "\"panels\"" : "\"rows\"") +
         ", width = " + std::to_string(width) + ", depth = " + std::to_string(depth) +
         ", align = " + std::to_string(align) + ", pair_halves = " + (pairs ? "true" : "false") + ">";
}

} // namespace

TEST(Convert, RoundsToNearestEvenAndKeepsNaN) {
  auto narrowed = [](float value) {
    uint16_t bits;
    convert(reinterpret_cast<std::byte *>(&value), DType::F32, reinterpret_cast<std::byte *>(&bits), Element::BF16, 1);
    return bits;
  };
  EXPECT_EQ(narrowed(1.0f), 0x3f80);
  EXPECT_EQ(narrowed(std::bit_cast<float>(0x3f808000u)), 0x3f80); // a tie goes to even
  EXPECT_EQ(narrowed(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(narrowed(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(narrowed(std::bit_cast<float>(0x7f7fffffu)), 0x7f80); // overflow to infinity
  EXPECT_EQ(narrowed(-INFINITY), 0xff80);
  EXPECT_EQ(narrowed(std::bit_cast<float>(0x7f800001u)) & 0x7fff, 0x7fc0); // not to infinity
}

TEST(Convert, EveryHalfIsExact) {
  std::vector<uint16_t> halves(0x10000);
  std::iota(halves.begin(), halves.end(), 0);
  std::vector<float> found(halves.size());
  convert(reinterpret_cast<std::byte *>(halves.data()), DType::F16, reinterpret_cast<std::byte *>(found.data()),
          Element::F32, halves.size());
  for (uint32_t bits = 0; bits < halves.size(); bits++) {
    _Float16 half;
    std::memcpy(&half, &halves[bits], 2);
    float expected = static_cast<float>(half);
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(found[bits])) << bits;
    else
      EXPECT_EQ(std::bit_cast<uint32_t>(expected), std::bit_cast<uint32_t>(found[bits])) << bits;
  }
}

TEST(Swizzled, PiecesOfARowsStepAreExchanged) {
  constexpr size_t piece = 16, rows = 8;
  auto packed = [](const char *kind) {
    Packer packer(std::string("qwen.weight @w : tensor<13x150xbf16> instances 1 layers [] source \"w\" layout #qwen.layout<\"") +
                  kind + "\", width = 8, depth = 64, align = 64, pair_halves = false> at 0 stride 0");
    packer.source.add("w", DType::BF16, {13, 150});
    return packer.pack(2, 4096);
  };
  const std::vector<uint8_t> panels = packed("panels"), swizzled = packed("swizzled");
  ASSERT_EQ(panels.size(), 2 * 8 * 192 * 2u);
  ASSERT_EQ(swizzled.size(), panels.size());
  for (size_t at = 0; at < panels.size(); at += piece) {
    const size_t number = at / piece % 8, row = at / (8 * piece) % rows;
    const size_t exchanged = at - number * piece + (number ^ row) * piece;
    EXPECT_TRUE(std::equal(&panels[at], &panels[at] + piece, &swizzled[exchanged])) << at;
  }
}

struct LayoutCase {
  int64_t N, K;
  bool panels;
  int64_t width, depth, align;
  bool pairs, bf16;
  DType from;
};

class Layouts : public testing::TestWithParam<LayoutCase> {};

TEST_P(Layouts, MatrixLiesAsTheFormulaSays) {
  LayoutCase c = GetParam();
  std::string shape = std::to_string(c.N) + "x" + std::to_string(c.K);
  Packer packer("qwen.weight @w : tensor<" + shape + (c.bf16 ? "xbf16" : "xf32") +
                "> instances 1 layers [] source \"w\" layout " +
                layoutText(c.panels, c.width, c.depth, c.align, c.pairs) + " at 0 stride 0");
  packer.source.add("w", c.from, {c.N, c.K});
  std::vector<uint8_t> expected = reference(packer.source.tensors["w"].values, c.N, c.K, c.panels, c.width,
                                            c.depth, c.align, c.pairs, c.bf16);
  EXPECT_TRUE(packer.pack(1) == expected);
  EXPECT_TRUE(packer.pack(3, 4096) == expected);
}

INSTANTIATE_TEST_SUITE_P(
    Pack, Layouts,
    testing::Values(LayoutCase{64, 128, true, 32, 2, 2, false, true, DType::BF16},
                    LayoutCase{331, 64, true, 32, 2, 2, false, true, DType::BF16},
                    LayoutCase{33, 301, true, 32, 2, 32, false, true, DType::F32},
                    LayoutCase{5, 7, true, 16, 1, 1, false, false, DType::F32},
                    LayoutCase{40, 257, true, 16, 1, 32, false, false, DType::F16},
                    LayoutCase{17, 130, true, 16, 1, 1, false, true, DType::F16},
                    LayoutCase{48, 50, true, 32, 2, 2, true, true, DType::BF16},
                    LayoutCase{2 * 37, 129, true, 32, 2, 32, true, true, DType::F32},
                    LayoutCase{2 * 3, 4, true, 16, 1, 1, true, false, DType::BF16},
                    LayoutCase{20, 9, true, 8, 4, 12, false, true, DType::BF16}, // units of 8 bytes
                    LayoutCase{20, 10, true, 8, 3, 6, false, false, DType::F32}, // units of 12 bytes
                    LayoutCase{13, 65, false, 1, 1, 1, false, true, DType::F32},
                    LayoutCase{13, 65, false, 1, 1, 32, false, false, DType::BF16},
                    LayoutCase{3000, 700, true, 32, 2, 2, false, true, DType::BF16}, // several blocks
                    LayoutCase{2500, 300, false, 1, 1, 16, false, false, DType::F32}));

TEST(Pack, StacksInstancesAndPartsGoToTheirPlaces) {
  // Two layers of two experts, gate and up as one; biases as one vector; a dead weight without a layout.
  Packer packer(R"x(
    qwen.weight @gate : tensor<2x5x6xbf16> instances 2 layers [1, 3] source "l{layer}.e{expert}.gate"
    qwen.weight @up : tensor<2x5x6xbf16> instances 2 layers [1, 3] source "l{layer}.e{expert}.up"
    qwen.weight @gate_up : tensor<2x10x6xbf16> instances 2 layers [1, 3] parts [@gate, @up]
      layout #qwen.layout<"panels", width = 4, depth = 2, align = 2, pair_halves = true> at 64 stride 1024
    qwen.weight @a : tensor<3xf32> instances 1 layers [] source "a"
    qwen.weight @b : tensor<4xf32> instances 1 layers [] source "b"
    qwen.weight @ab : tensor<7xf32> instances 1 layers [] parts [@a, @b]
      layout #qwen.layout<"rows", width = 1, depth = 1, align = 16, pair_halves = false> at 4096 stride 0)x");
  for (std::string layer : {"1", "3"})
    for (std::string expert : {"0", "1"}) {
      packer.source.add("l" + layer + ".e" + expert + ".gate", DType::F32, {5, 6});
      packer.source.add("l" + layer + ".e" + expert + ".up", DType::BF16, {5, 6});
    }
  packer.source.add("a", DType::F16, {3});
  packer.source.add("b", DType::F32, {4});

  std::vector<uint8_t> expected(4096 + 64, 0);
  auto concatenated = [&](const std::string &x, const std::string &y) {
    std::vector<float> values = packer.source.tensors[x].values;
    const std::vector<float> &more = packer.source.tensors[y].values;
    values.insert(values.end(), more.begin(), more.end());
    return values;
  };
  for (int layer = 0; layer < 2; layer++)
    for (int expert = 0; expert < 2; expert++) {
      std::string prefix = "l" + std::to_string(2 * layer + 1) + ".e" + std::to_string(expert);
      std::vector<uint8_t> matrix =
          reference(concatenated(prefix + ".gate", prefix + ".up"), 10, 6, true, 4, 2, 2, true, true);
      std::copy(matrix.begin(), matrix.end(), expected.begin() + 64 + layer * 1024 + expert * matrix.size());
    }
  std::vector<uint8_t> biases = reference(concatenated("a", "b"), 1, 7, false, 1, 1, 16, false, false);
  std::copy(biases.begin(), biases.end(), expected.begin() + 4096);
  EXPECT_TRUE(packer.pack(1) == expected);
  EXPECT_TRUE(packer.pack(2) == expected);
  // Every tensor was given back, once a run.
  EXPECT_EQ(packer.source.released.size(), 2u * packer.source.tensors.size());
}

namespace {
std::string planError(DType type, std::vector<int64_t> shape, const std::string &name = "w") {
  Packer packer("qwen.weight @w : tensor<4x6xbf16> instances 1 layers [] source \"w\" layout " +
                layoutText(true, 4, 2, 2, false) + " at 0 stride 0");
  packer.source.tensors[name] = Tensor{type, shape, {}, std::vector<std::byte>(1 + 4 * 24)};
  Result<PackPlan> plan = planPacking(*packer.module, packer.source);
  return plan ? "" : plan.error().message;
}
} // namespace

TEST(Pack, SaysWhatIsWrongWithATensor) {
  EXPECT_EQ(planError(DType::F32, {4, 6}), "");
  EXPECT_EQ(planError(DType::F32, {4, 6}, "v"), "no tensor 'w'");
  EXPECT_EQ(planError(DType::F32, {6, 4}), "tensor 'w': expected shape [4, 6], found [6, 4]");
  EXPECT_EQ(planError(DType::I32, {4, 6}), "tensor 'w': expected F32, F16 or BF16, found I32");
}

TEST(Pack, OverlappingPlacesAreInternalErrors) {
  Packer packer("qwen.weight @v : tensor<16xf32> instances 1 layers [] source \"w\" layout " +
                layoutText(false, 1, 1, 1, false) + " at 0 stride 0\n" +
                "qwen.weight @w : tensor<16xf32> instances 1 layers [] source \"w\" layout " +
                layoutText(false, 1, 1, 1, false) + " at 60 stride 0");
  Result<uint64_t> bytes = sectionBytes(*packer.module);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().fault, Error::Fault::Internal);
  EXPECT_EQ(bytes.error().message, "weights overlap at byte 60 of the weight section");
}

TEST(Pack, AFullDiskIsAUserError) {
  Packer packer("qwen.weight @w : tensor<4x6xbf16> instances 1 layers [] source \"w\" layout " +
                layoutText(true, 4, 2, 2, false) + " at 0 stride 0");
  packer.source.add("w", DType::F32, {4, 6});
  Result<PackPlan> plan = planPacking(*packer.module, packer.source);
  ASSERT_TRUE(plan);
  PackOptions options;
  FILE *full = fopen("/dev/full", "w");
  options.descriptor = fileno(full);
  Status status = runPacking(*plan, packer.source, options);
  fclose(full);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().fault, Error::Fault::User);
  EXPECT_THAT(status.error().message, HasSubstr("No space left on device"));
}
