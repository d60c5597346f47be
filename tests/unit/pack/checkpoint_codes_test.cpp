// Codes of quantized checkpoints go into panels as they are: what is packed has the very values of the
// checkpoint.
#include "dialects/Qwen.h"
#include "dialects/quantization/type.h"
#include "tests/unit/pack/panels.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>

#include <map>
#include <random>

using namespace qwench;
using namespace qwench::pack;
using qwench::pack::reading::packed;
using qwench::pack::reading::Panels;
using qwench::pack::reading::tryPacking;
using ::testing::HasSubstr;

namespace {

struct Case {
  const char *name;
  hf::QuantMethod method;
  int bits;
  int64_t group, rows, columns;
  bool symmetric;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

/// One matrix "w" of random codes, scales and zero points.
class StoredMatrix : public TensorSource {
public:
  explicit StoredMatrix(const Case &c) {
    config.method = c.method, config.bits = c.bits, config.group = c.group, config.symmetric = c.symmetric;
    bool fp8 = c.method == hf::QuantMethod::Fp8, awq = c.method == hf::QuantMethod::Awq;
    config.blockRows = fp8 ? 128 : 1;
    int64_t group = c.group ? c.group : c.columns, groups = (c.columns + group - 1) / group,
            perWord = 32 / c.bits;
    auto words = [&](int64_t rows, int64_t columns, bool middle) {
      std::vector<uint32_t> values(rows * columns);
      for (uint32_t &value : values)
        value = middle ? (c.bits == 4 ? 0x88888888 : 0x80808080) : static_cast<uint32_t>(random());
      return add(hf::DType::I32, {rows, columns}, values);
    };
    hf::QuantizedParts parts;
    if (fp8) {
      std::vector<uint8_t> codes(c.rows * c.columns);
      for (uint8_t &code : codes)
        code = static_cast<uint8_t>(random() % 127 | (random() & 128)); // no nan
      parts.weight = add(hf::DType::F8_E4M3, {c.rows, c.columns}, codes);
      parts.scales =
          add(hf::DType::F32, {(c.rows + 127) / 128, groups}, floats((c.rows + 127) / 128 * groups));
    } else {
      parts.weight = awq ? words(c.columns, c.rows / 8, false) : words(c.columns / perWord, c.rows, false);
      parts.zeros = words(groups, c.rows / perWord, c.symmetric);
      std::vector<uint16_t> halves;
      for (float value : floats(groups * c.rows))
        halves.push_back(quantization::toF16(value));
      parts.scales = add(hf::DType::F16, {groups, c.rows}, halves);
    }
    Result<hf::QuantizedMatrix> made = hf::QuantizedMatrix::make(config, c.rows, c.columns, parts, c.rows, 0);
    EXPECT_TRUE(made);
    matrix = std::make_shared<hf::QuantizedMatrix>(made.take());
    matrix->setFormat(*matrix->examine());
  }
  Result<hf::TensorView> find(std::string_view name) const override {
    return internalError("asked for floats");
  }
  Result<std::shared_ptr<const hf::QuantizedMatrix>> findQuantized(std::string_view name) const override {
    return std::shared_ptr<const hf::QuantizedMatrix>(matrix);
  }

  std::shared_ptr<hf::QuantizedMatrix> matrix;
  std::vector<std::vector<std::byte>> memory;

private:
  template <typename T>
  hf::TensorView add(hf::DType type, std::vector<int64_t> shape, const std::vector<T> &values) {
    std::vector<std::byte> &bytes = memory.emplace_back(values.size() * sizeof(T));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return {"w", type, std::move(shape), bytes.data(), bytes.size()};
  }
  std::vector<float> floats(int64_t count) {
    std::uniform_real_distribution<float> uniform(0.01f, 1.0f);
    std::vector<float> values(count);
    for (float &value : values)
      value = uniform(random);
    return values;
  }

  hf::QuantizationConfig config;
  std::mt19937 random{7};
};

std::string text(mlir::Type type) {
  std::string result;
  llvm::raw_string_ostream(result) << type;
  return result;
}

class CheckpointCodes : public ::testing::TestWithParam<Case> {
protected:
  CheckpointCodes() { context.loadDialect<qwen::QwenDialect>(); }
  mlir::OwningOpRef<mlir::ModuleOp> module(const Case &c, mlir::Type element, int64_t align, int64_t depth) {
    return mlir::parseSourceString<mlir::ModuleOp>(
        "qwen.weight @w : tensor<" + std::to_string(c.rows) + "x" + std::to_string(c.columns) + "x" +
            text(element) +
            "> instances 1 layers [] source \"w\" layout #qwen.layout<\"panels\", width = 32, depth = " +
            std::to_string(depth) + ", align = " + std::to_string(align) +
            ", pair_halves = false> at 0 stride 0",
        &context);
  }
  mlir::MLIRContext context;
};

TEST_P(CheckpointCodes, HaveTheValuesOfTheCheckpoint) {
  const Case &c = GetParam();
  StoredMatrix source(c);
  std::string reason;
  std::optional<quantization::Format> format = hf::formatOf(*source.matrix->format(), reason);
  ASSERT_TRUE(format) << reason;
  int64_t align = std::max<int64_t>(format->group, 32), depth = c.method == hf::QuantMethod::Fp8 ? 2 : 4;
  auto type = quantization::typeOf(&context, *format);
  auto planned = module(c, type, align, depth);
  ASSERT_TRUE(planned);
  std::vector<uint8_t> bytes = packed(*planned, source, 1);
  auto weight = planned->lookupSymbol<qwen::WeightOp>("w");
  Panels panels{bytes.data(), *format, weight.getLayout()->panelBytes(c.columns, type),
                (c.columns + align - 1) / align * align, depth};
  ASSERT_EQ(static_cast<int64_t>(bytes.size()), panels.panelBytes * ((c.rows + 31) / 32));
  std::vector<float> expected(c.rows * c.columns);
  source.matrix->values(0, c.rows, expected.data(), c.columns);
  for (int64_t row = 0; row < (c.rows + 31) / 32 * 32; row++)
    for (int64_t k = 0; k < panels.paddedColumns; k++)
      ASSERT_EQ(panels.value(row / 32, row % 32, k),
                row < c.rows && k < c.columns ? expected[row * c.columns + k] : 0)
          << "row " << row << " column " << k;
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, CheckpointCodes,
    ::testing::Values(Case{"gptq4", hf::QuantMethod::Gptq, 4, 32, 72, 96, true},
                      Case{"gptq4-zeros-short-group", hf::QuantMethod::Gptq, 4, 32, 40, 72, false},
                      Case{"gptq8", hf::QuantMethod::Gptq, 8, 64, 64, 128, true},
                      Case{"gptq8-zeros", hf::QuantMethod::Gptq, 8, 32, 36, 100, false},
                      Case{"gptq8-rows", hf::QuantMethod::Gptq, 8, 0, 68, 100, true},
                      Case{"gptq4-group-longer-than-row", hf::QuantMethod::Gptq, 4, 128, 32, 40, false},
                      Case{"awq", hf::QuantMethod::Awq, 4, 32, 48, 130, false},
                      Case{"fp8", hf::QuantMethod::Fp8, 8, 128, 300, 260, false}));

TEST_F(CheckpointCodes, OtherTypesAreMadeFromTheValues) {
  Case c{"gptq4", hf::QuantMethod::Gptq, 4, 32, 32, 64, true};
  StoredMatrix source(c);
  auto planned = module(c, mlir::Float32Type::get(&context), 32, 1);
  ASSERT_TRUE(planned);
  std::vector<uint8_t> bytes = packed(*planned, source, 1);
  std::vector<float> expected(c.rows * c.columns), found(c.rows * c.columns);
  source.matrix->values(0, c.rows, expected.data(), c.columns);
  ASSERT_EQ(bytes.size(), 4 * found.size());
  std::memcpy(found.data(), bytes.data(), bytes.size());
  for (int64_t row = 0; row < c.rows; row++)
    for (int64_t k = 0; k < c.columns; k++)
      ASSERT_EQ(found[k * 32 + row], expected[row * c.columns + k]);
}

TEST_F(CheckpointCodes, NansAreErrors) {
  Case c{"fp8", hf::QuantMethod::Fp8, 8, 128, 32, 128, false};
  StoredMatrix source(c);
  source.memory[0][3 * 128 + 5] = std::byte(0xff);
  std::string reason;
  auto planned =
      module(c, quantization::typeOf(&context, *hf::formatOf(*source.matrix->format(), reason)), 128, 2);
  Result<std::vector<uint8_t>> bytes = tryPacking(*planned, source, 1);
  ASSERT_FALSE(bytes);
  EXPECT_THAT(bytes.error().message, HasSubstr("tensor 'w', row 3: expected finite numbers, found nan"));
}

} // namespace
