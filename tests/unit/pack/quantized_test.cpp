// Packed quantized weights, read back element by element as the dialect's documentation of the layout writes it, are the
// values of the codec; with any number of threads, in every format.
#include "compiler/pack/pack.h"
#include "dialects/Qwen.h"
#include "dialects/quantization/names.h"
#include "dialects/quantization/type.h"
#include "tests/unit/pack/panels.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>

using namespace qwench;
using namespace qwench::pack;
using namespace qwench::quantization;
using ::testing::HasSubstr;
using qwench::pack::reading::packed;
using qwench::pack::reading::Panels;
using qwench::pack::reading::tryPacking;

namespace {

/// Tensors of random floats.
class RandomSource : public TensorSource {
public:
  mutable std::map<std::string, std::vector<float>, std::less<>> tensors;
  std::map<std::string, std::vector<int64_t>, std::less<>> shapes;

  void add(const std::string &name, int64_t rows, int64_t columns) {
    std::mt19937 random(static_cast<unsigned>(tensors.size()) + 1);
    std::normal_distribution<float> normal;
    std::vector<float> &values = tensors[name];
    values.resize(rows * columns);
    for (float &value : values)
      value = normal(random);
    shapes[name] = {rows, columns};
  }
  Result<hf::TensorView> find(std::string_view name) const override {
    auto it = tensors.find(name);
    if (it == tensors.end())
      return userError("no tensor '" + std::string(name) + "'");
    return hf::TensorView{it->first, hf::DType::F32, shapes.find(name)->second,
                          reinterpret_cast<const std::byte *>(it->second.data()), it->second.size() * 4};
  }
  /// The values of a tensor's codes.
  std::vector<float> rounded(const std::string &name, const Format &format) const {
    std::vector<float> values = tensors.find(name)->second;
    EXPECT_TRUE(roundMatrix(format, values, shapes.find(name)->second[1]));
    return values;
  }
};

struct Case {
  const char *format;
  int64_t depth, rows, columns;
  bool pairs;
  int64_t width = 32;
  bool planes = false;
};

std::string layoutText(int64_t depth, int64_t align, bool pairs, int64_t width = 32, bool planes = false) {
  return std::string("#qwen.layout<\"") + (planes ? "planes" : "panels") + "\", width = " + std::to_string(width) + ", depth = " + std::to_string(depth) + ", align = " + std::to_string(align) +
         ", pair_halves = " + (pairs ? "true" : "false") + ">";
}

std::string typeText(mlir::MLIRContext &context, const std::string &format) {
  std::string text;
  llvm::raw_string_ostream(text) << *parseElement(&context, format);
  return text;
}

} // namespace

class Quantized : public testing::TestWithParam<Case> {
protected:
  Quantized() { context.loadDialect<qwen::QwenDialect>(); }
  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }
  mlir::MLIRContext context;
};

TEST_P(Quantized, PanelsHoldTheValuesOfTheCodes) {
  Case c = GetParam();
  auto type = mlir::cast<qwen::QuantType>(*parseElement(&context, c.format));
  int64_t align = std::max<int64_t>(type.getGroup(), 32), half = c.rows / 2;
  std::string element = typeText(context, c.format), columns = std::to_string(c.columns);
  // Two parts, so that blocks of rows begin where a tensor begins.
  int64_t first = c.pairs ? half : c.rows / 3, second = c.rows - first;
  auto module = parse("qwen.weight @a : tensor<" + std::to_string(first) + "x" + columns + "x" + element +
                      "> instances 1 layers [] source \"a\"\nqwen.weight @b : tensor<" + std::to_string(second) + "x" +
                      columns + "x" + element + "> instances 1 layers [] source \"b\"\nqwen.weight @w : tensor<" +
                      std::to_string(c.rows) + "x" + columns + "x" + element +
                      "> instances 1 layers [] parts [@a, @b] layout " + layoutText(c.depth, align, c.pairs, c.width, c.planes) +
                      " at 0 stride 0");
  ASSERT_TRUE(module);
  RandomSource source;
  source.add("a", first, c.columns);
  source.add("b", second, c.columns);
  Format format = formatOf(type);
  std::vector<float> expected = source.rounded("a", format), more = source.rounded("b", format);
  expected.insert(expected.end(), more.begin(), more.end());

  std::vector<uint8_t> bytes = packed(*module, source, 1);
  EXPECT_TRUE(packed(*module, source, 3) == bytes) << "with three threads";
  auto weight = module->lookupSymbol<qwen::WeightOp>("w");
  ASSERT_EQ(static_cast<int64_t>(bytes.size()), weight.getLayout()->bytes(mlir::cast<mlir::RankedTensorType>(weight.getType())));
  int64_t padded = (c.columns + align - 1) / align * align;
  Panels panels{bytes.data(), format, weight.getLayout()->panelBytes(c.columns, type), padded, c.depth, c.width, c.planes};
  int64_t count = static_cast<int64_t>(bytes.size()) / panels.panelBytes, seen = 0;
  for (int64_t panel = 0; panel < count; panel++)
    for (int64_t lane = 0; lane < c.width; lane++) {
      int64_t perHalf = c.width / 2, row = c.pairs ? panel * perHalf + lane % perHalf : panel * c.width + lane;
      bool real = row < (c.pairs ? half : c.rows);
      row += c.pairs ? lane / perHalf * half : 0;
      seen += real;
      for (int64_t k = 0; k < padded; k++)
        ASSERT_EQ(panels.value(panel, lane, k), real && k < c.columns ? expected[row * c.columns + k] : 0)
            << "row " << row << " column " << k;
    }
  EXPECT_EQ(seen, c.rows);
}

INSTANTIATE_TEST_SUITE_P(Formats, Quantized,
                         testing::Values(Case{"int8", 4, 96, 128, false}, Case{"int8", 4, 70, 77, true},
                                         Case{"int8:64", 4, 50, 200, false}, Case{"int4", 4, 64, 256, false},
                                         Case{"int4", 4, 106, 301, true}, Case{"int4:32", 4, 33, 40, false},
                                         Case{"int4:128", 4, 45, 130, false}, Case{"int4z", 4, 106, 301, true},
                                         Case{"int4z:32", 2, 31, 7, false}, Case{"mxfp4", 4, 64, 96, false},
                                         Case{"mxfp4", 4, 70, 45, true}, Case{"nvfp4", 4, 99, 129, false},
                                         Case{"nvfp4", 4, 34, 48, true}, Case{"fp8", 2, 300, 257, false},
                                         Case{"fp8", 2, 514, 130, true}, Case{"fp8", 1, 1000, 3000, false},
                                         Case{"int8", 8, 31, 77, false, 2, true}, Case{"int8:64", 8, 50, 200, true, 2, true},
                                         Case{"int4", 8, 45, 130, false, 4, true}, Case{"int4z", 8, 106, 301, true, 4, true},
                                         Case{"mxfp4", 8, 70, 45, true, 4, true}, Case{"nvfp4", 8, 99, 129, false, 4, true},
                                         Case{"fp8", 8, 514, 130, true, 2, true}));

TEST_F(Quantized, NumbersThatAreNotFiniteAreErrorsOfTheTensor) {
  for (const char *format : {"int4", "fp8", "nvfp4", "int8"}) {
    auto module = parse("qwen.weight @w : tensor<40x64x" + typeText(context, format) +
                        "> instances 1 layers [] source \"w\" layout " + layoutText(2, 128, false) + " at 0 stride 0");
    ASSERT_TRUE(module);
    RandomSource source;
    source.add("w", 40, 64);
    source.tensors["w"][33 * 64 + 5] = NAN;
    Result<std::vector<uint8_t>> bytes = tryPacking(*module, source, 1);
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().fault, Error::Fault::User);
    EXPECT_THAT(bytes.error().message, HasSubstr("tensor 'w', row 33: expected finite numbers to quantize, found nan in column 5"));
  }
}

TEST_F(Quantized, RowsAndHalfGroupsAreInternalErrors) {
  for (std::string layout : {"#qwen.layout<\"rows\", width = 1, depth = 1, align = 64, pair_halves = false>",
                             "#qwen.layout<\"panels\", width = 32, depth = 4, align = 32, pair_halves = false>"}) {
    auto module = parse("qwen.weight @w : tensor<40x96x" + typeText(context, "int4") +
                        "> instances 1 layers [] source \"w\" layout " + layout + " at 0 stride 0");
    ASSERT_TRUE(module);
    RandomSource source;
    source.add("w", 40, 96);
    Result<PackPlan> plan = planPacking(*module, source);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().fault, Error::Fault::Internal);
  }
}
