#include "tests/differential/quantized_program.h"

#include "dialects/quantization/codes.h"
#include "tests/differential/planned_module.h"

#include "mlir/AsmParser/AsmParser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

using namespace mlir;
using namespace qwench;
using namespace qwench::test;
using qwen::LayoutAttr;
using qwen::QuantType;

namespace {

constexpr int64_t kMostRows = 40, kExperts = 3, kTopK = 2;

using Matrix = std::vector<std::vector<double>>;

//===-- Plain meaning of the formats ------------------------------------------------------------------------------===//

double fromE4M3(int code) {
  int exponent = code >> 3 & 15, mantissa = code & 7;
  double magnitude = exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
  return code & 128 ? -magnitude : magnitude;
}

double fromE2M1(int code) {
  static constexpr double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  return code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7];
}

/// Random scale of a type: its bytes at `to`, and its value. Codes of e4m3 are `leastCode` or more.
double randomScale(std::mt19937 &random, Type type, uint8_t *to, int leastCode) {
  auto below = [&](int n) { return static_cast<int>(random() % n); };
  if (type.isF32()) {
    float value = static_cast<float>(1 + below(1000)) / 1e5f;
    std::memcpy(to, &value, 4);
    return value;
  }
  if (isa<Float8E8M0FNUType>(type)) {
    *to = static_cast<uint8_t>(118 + below(6));
    return std::ldexp(1, *to - 127);
  }
  if (isa<Float8E4M3FNType>(type)) {
    *to = static_cast<uint8_t>(leastCode + below(127 - leastCode)); // 1: subnormals too
    return fromE4M3(*to);
  }
  bool half = type.isF16();
  int mantissaBits = half ? 10 : 7, exponent = -9 + below(4), mantissa = below(1 << mantissaBits);
  auto bits = static_cast<uint16_t>((exponent + (half ? 15 : 127)) << mantissaBits | mantissa);
  std::memcpy(to, &bits, 2);
  return std::ldexp(1 + std::ldexp(mantissa, -mantissaBits), exponent);
}

/// Where lane, column and group of a panel lie (#qwen.layout, dialects/QwenDialect.td).
struct PanelPlaces {
  PanelPlaces(QuantType type, LayoutAttr layout, int64_t k)
      : planes(layout.isPlanes()), width(layout.getWidth()), depth(layout.getDepth()), bits(type.codeBits()),
        groups(layout.paddedInputs(k) / type.groupColumns(layout.paddedInputs(k))),
        columns(type.groupColumns(layout.paddedInputs(k))), rowScaleBytes(type.getRowScales() ? 4 * width : 0),
        scaleBytes(type.getGroup() ? type.scaleBytes() : 4), zeroBytes(type.getZeroPoints() ? width : 0) {}

  int64_t codes(int64_t group) const {
    int64_t each = columns * width * bits / 8;
    return planes ? group * each : rowScaleBytes + group * (each + width * scaleBytes + zeroBytes) + width * scaleBytes + zeroBytes;
  }
  int64_t rowScales() const { return planes ? codes(groups) : 0; }
  int64_t scales(int64_t group) const {
    return planes ? codes(groups) + rowScaleBytes + group * width * scaleBytes : codes(group) - zeroBytes - width * scaleBytes;
  }
  int64_t zeros(int64_t group) const { return planes ? scales(groups) + group * width : codes(group) - zeroBytes; }

  bool planes;
  int64_t width, depth, bits, groups, columns, rowScaleBytes, scaleBytes, zeroBytes;
};

/// Fills one matrix [n, k] in the packed layout with random codes, scales and zero points; gives its values.
Matrix packRandom(std::mt19937 &random, QuantType type, LayoutAttr layout, int64_t n, int64_t k, uint8_t *to, int leastScale) {
  Matrix values(n, std::vector<double>(k));
  const PanelPlaces at(type, layout, k);
  int64_t width = at.width, panelBytes = layout.panelBytes(k, type);
  for (int64_t panel = 0; panel < layout.paddedOutputs(n) / width; ++panel)
    for (int64_t lane = 0; lane < width; ++lane) {
      int64_t row = panel * width + lane;
      if (layout.getPairHalves()) {
        int64_t inHalf = panel * width / 2 + lane % (width / 2);
        row = inHalf < n / 2 ? inHalf + (lane < width / 2 ? 0 : n / 2) : n;
      }
      bool real = row < n;
      uint8_t *start = to + panel * panelBytes;
      double rowScale = 1;
      if (type.getRowScales() && real)
        rowScale = randomScale(random, Float32Type::get(type.getContext()), start + at.rowScales() + 4 * lane, leastScale);
      for (int64_t group = 0; group < at.groups; ++group) {
        double scale = rowScale;
        int zero = type.getStorage().isSignlessInteger() && !type.getZeroPoints() ? 1 << (at.bits - 1) : 0;
        if (real)
          scale *= randomScale(random, type.getScale(), start + at.scales(group) + at.scaleBytes * lane, leastScale);
        if (type.getZeroPoints())
          zero = start[at.zeros(group) + lane] = static_cast<uint8_t>(random() % (1 << at.bits));
        for (int64_t c = 0; c < at.columns; ++c) {
          int64_t column = group * at.columns + c;
          int code = column < k && real ? static_cast<int>(random() % (1 << at.bits)) : zero;
          if (isa<Float8E4M3FNType>(type.getStorage()) && (code & 127) == 127)
            code = 1; // no NaN
          int64_t lanes = at.bits == 8 ? width : width / 2;
          uint8_t &byte = start[at.codes(group) + c / at.depth * lanes * at.depth + lane % lanes * at.depth + c % at.depth];
          byte = static_cast<uint8_t>(lane < lanes ? code : byte | code << 4);
          if (!real || column >= k)
            continue;
          double value = isa<Float4E2M1FNType>(type.getStorage())   ? fromE2M1(code)
                         : isa<Float8E4M3FNType>(type.getStorage()) ? fromE4M3(code)
                                                                    : code - zero;
          values[row][column] = value * scale;
        }
      }
    }
  return values;
}

/// What activations are once they are quantized in groups.
std::vector<double> quantized(const std::vector<double> &x, int64_t group) {
  std::vector<double> result(x.size());
  for (size_t first = 0; first < x.size(); first += group) {
    size_t end = std::min(x.size(), first + group);
    float most = 0;
    for (size_t i = first; i < end; ++i)
      most = std::max(most, std::abs(static_cast<float>(x[i])));
    for (size_t i = first; i < end && most > 0; ++i)
      result[i] = std::nearbyint(x[i] * (127.0f / most)) * (most * (1.0f / 127));
  }
  return result;
}

Matrix quantized(const Matrix &x, int64_t group) {
  Matrix result;
  for (const auto &row : x)
    result.push_back(group ? quantized(row, group) : row);
  return result;
}

Matrix times(const Matrix &x, const Matrix &weight) {
  Matrix y(x.size(), std::vector<double>(weight.size()));
  for (size_t t = 0; t < x.size(); ++t)
    for (size_t n = 0; n < weight.size(); ++n)
      for (size_t k = 0; k < x[t].size(); ++k)
        y[t][n] += x[t][k] * weight[n][k];
  return y;
}

Matrix swiglu(const Matrix &y) {
  Matrix result;
  for (const auto &row : y) {
    size_t half = row.size() / 2;
    result.emplace_back();
    for (size_t i = 0; i < half; ++i)
      result.back().push_back(row[i] / (1 + std::exp(-row[i])) * row[half + i]);
  }
  return result;
}

Matrix toBF16(Matrix x) {
  for (auto &row : x)
    for (double &value : row)
      value = quantization::fromBF16(quantization::toBF16(static_cast<float>(value)));
  return x;
}

template <typename T> std::string str(T what) {
  std::string s;
  llvm::raw_string_ostream(s) << what;
  return s;
}

/// Largest difference from what is expected, of the range of what is expected.
double difference(const Matrix &expected, const float *found, int64_t stride) {
  double most = 0, low = 0, high = 0;
  for (size_t t = 0; t < expected.size(); ++t)
    for (size_t i = 0; i < expected[t].size(); ++i) {
      double d = std::abs(found[t * stride + i] - expected[t][i]);
      most = std::isfinite(d) ? std::max(most, d) : INFINITY;
      low = std::min(low, expected[t][i]), high = std::max(high, expected[t][i]);
    }
  return most / (high - low);
}

} // namespace

//===-- The program under test ------------------------------------------------------------------------------------===//

QuantizedProgram::QuantizedProgram(MLIRContext &context, const TargetProperties &properties, const QuantizedCase &options)
    : properties(properties), options(options), k(options.k) {
  type = cast<QuantType>(parseType("!qwen.quant<" + options.format + ">", &context));
  layout = properties.matrixLayout(type, false);
  paired = properties.matrixLayout(type, true);
  input = properties.matrixInput(type, options.rowBound);
  if (auto quant = dyn_cast<QuantType>(input))
    group = quant.getGroup();
  build();
}

std::string QuantizedProgram::element(bool quant) const { return quant ? str(input) : "f32"; }

std::string QuantizedProgram::inputName() const { return group ? "q" : options.floatInput; }

int64_t QuantizedProgram::weight(const std::string &name, std::vector<int64_t> shape, LayoutAttr layout, Type element) {
  int64_t at = weightBytes, bytes = layout.bytes(RankedTensorType::get(shape, element));
  weightBytes += (bytes + 127) / 128 * 128;
  weights += "qwen.weight @" + name + " : " + str(RankedTensorType::get(shape, element)) +
             " instances 1 layers [] source \"" + name + "\" layout " + str(layout).substr(std::strlen("#qwen.layout")) +
             " at " + std::to_string(at) + " stride " + std::to_string(bytes) + "\n";
  params += "%" + name + " = qwen.param @" + name + "[%c0] : " + str(RankedTensorType::get(shape, element)) + "\n";
  types[name] = str(RankedTensorType::get(shape, element));
  return at;
}

/// A buffer of rows * factor rows of `width` elements.
int64_t QuantizedProgram::buffer(const std::string &name, int64_t width, const std::string &rows, int64_t factor, bool quant) {
  auto q = quant ? dyn_cast<QuantType>(input) : QuantType();
  int64_t bytes = q ? 1 : quant ? input.getIntOrFloatBitWidth() / 8 : 4;
  int64_t stride = properties.rowStride(q ? q.rowBytes(width) : width, bytes);
  int64_t at = declare(name, "?x" + std::to_string(width) + "x" + element(quant), "strided<[" + std::to_string(stride) + ", 1]>",
                       rows, kMostRows * factor * stride * bytes);
  strides[name] = stride;
  return at;
}

int64_t QuantizedProgram::declare(const std::string &name, const std::string &shape, const std::string &strides,
                                  const std::string &rows, int64_t bytes) {
  int64_t at = arenaBytes;
  arenaBytes += (bytes + 127) / 128 * 128;
  types[name] = "memref<" + shape + ", " + strides + ">";
  buffers += "%" + name + " = qwen.buffer" + (rows.empty() ? "" : "[%" + rows + "]") + " at " + std::to_string(at) + " : " +
             types[name] + "\n";
  places[name] = at;
  return at;
}

void QuantizedProgram::op(const std::string &text, std::vector<std::string> operands) {
  ops += text + " : (";
  for (size_t i = 0; i < operands.size(); ++i)
    ops += (i ? ", " : "") + types[operands[i]];
  ops += ") -> ()\n";
}

void QuantizedProgram::build() {
  LayoutAttr vector = properties.rowsLayout(type.getContext());
  Type f32 = Float32Type::get(type.getContext());
  types["batch"] = "!qwen.batch";
  wAt = weight("w", {n, k}, layout, type);
  gateUpAt = weight("gate_up", {2 * n, k}, paired, type);
  expertsAt = weight("experts", {kExperts, 2 * n, k}, paired, type);
  downAt = weight("down", {kExperts, k, n}, layout, type);
  biasAt = weight("bias", {n}, vector, f32);
  gammaAt = weight("gamma", {k}, vector, f32);

  buffer("x", k, "t", 1, false);
  buffer("residual", n, "t", 1, false);
  declare("ids", "?x" + std::to_string(kTopK) + "xi32", "strided<[32, 1]>", "t", kMostRows * 128);
  declare("routing", "?x" + std::to_string(kTopK) + "xf32", "strided<[32, 1]>", "t", kMostRows * 128);
  declare("offsets", std::to_string(kExperts + 1) + "xi32", "strided<[1]>", "", 128);
  declare("pairs", "?xi32", "strided<[1]>", "tk", kMostRows * kTopK * 4);
  for (const char *name : {"q", "norm"})
    buffer(name, k, "t", 1, true);
  for (const char *name : {"plain", "added", "gated", "normed"})
    buffer(name, n, "t", 1, false);
  buffer("hidden", n, "tk", kTopK, false);
  buffer("hidden_q", n, "tk", kTopK, true);
  for (const char *name : {"combined", "embedded"})
    buffer(name, k, "t", 1, false);

  std::string tile = "tile = array<i64: 8>", panels = "tile = array<i64: " + options.linearTile + ">", eps = "eps = 1.0e-06 : f32";
  op("qwen.rms_norm(%x, %gamma) outs(%norm) {" + eps + ", " + tile + "}", {"x", "gamma", "norm"});
  op("qwen.linear(%norm, %w) outs(%normed) {" + panels + "}", {"norm", "w", "normed"});
  op("qwen.embedding(%batch, %w) outs(%embedded) {" + tile + "}", {"batch", "w", "embedded"});
  if (group)
    op("qwen.quantize(%x) outs(%q) {" + tile + "}", {"x", "q"});
  std::string in = inputName(), hidden = group ? "hidden_q" : "hidden";
  if (in.empty())
    return;
  op("qwen.linear(%" + in + ", %w, %bias) outs(%plain) {" + panels + "}", {in, "w", "bias", "plain"});
  op("qwen.fused_linear(%" + in + ", %w) residual(%residual) outs(%added) {" + panels + "}", {in, "w", "residual", "added"});
  op("qwen.fused_linear(%" + in + ", %gate_up) outs(%gated) {activation = 1 : i32, " + panels + "}", {in, "gate_up", "gated"});
  op("qwen.dispatch(%ids) outs(%offsets, %pairs) {tile = array<i64: 1>}", {"ids", "offsets", "pairs"});
  op("qwen.grouped_linear(%" + in + ", %experts, %offsets, %pairs) outs(%hidden) {activation = 1 : i32, gather, top_k = 2 : i64, " +
         "tile = array<i64: " + options.groupedTile + ">}",
     {in, "experts", "offsets", "pairs", "hidden"});
  if (group)
    op("qwen.quantize(%hidden) outs(%hidden_q) {" + tile + "}", {"hidden", "hidden_q"});
  op("qwen.grouped_linear_combine(%" + hidden + ", %down, %routing, %offsets, %pairs) outs(%combined) {tile = array<i64: " +
         options.combineTile + ">}",
     {hidden, "down", "routing", "offsets", "pairs", "combined"});
}

std::string QuantizedProgram::text() {
  std::string cache = "!qwen.cache<layers = 1, heads = 1, dim = 32, f32>";
  std::string body = "(%batch: !qwen.batch, %cache: " + cache +
                     ") {\n%c0 = arith.constant 0 : index\n%c2 = arith.constant 2 : index\n%t = qwen.batch_size %batch\n"
                     "%tk = arith.muli %t, %c2 : index\n" +
                     params + buffers + ops + "return\n}\n";
  return plannedModule(arenaBytes, properties.threadScratchBytes, weightBytes) + " {\n" + weights + "func.func @prefill" + body +
         "func.func @decode" + body + "}\n";
}

void QuantizedProgram::expect(const std::string &name, const Matrix &expected, double tolerance) {
  EXPECT_LE(difference(expected, arena->at<float>(places[name]), strides[name]), tolerance) << name;
}

void QuantizedProgram::compare(const std::function<void(bool decode, const QwenchStep &step)> &run) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  Memory weights(weightBytes), buffers(arenaBytes + properties.threadScratchBytes);
  arena = &buffers;
  Matrix w = packRandom(random, type, layout, n, k, weights.data() + wAt, options.leastScale);
  Matrix gateUp = packRandom(random, type, paired, 2 * n, k, weights.data() + gateUpAt, options.leastScale);
  std::vector<Matrix> experts, down;
  for (int64_t e = 0; e < kExperts; ++e) {
    experts.push_back(packRandom(random, type, paired, 2 * n, k,
                                 weights.data() + expertsAt + e * paired.matrixBytes(2 * n, k, type), options.leastScale));
    down.push_back(packRandom(random, type, layout, k, n, weights.data() + downAt + e * layout.matrixBytes(k, n, type),
                              options.leastScale));
  }
  for (int64_t i = 0; i < n; ++i)
    weights.at<float>(biasAt)[i] = normal(random);
  for (int64_t i = 0; i < k; ++i)
    weights.at<float>(gammaAt)[i] = 1 + normal(random) / 8;

  for (int64_t rows : {1, 2, 3, 5, 6, 7, 16, 37}) {
    SCOPED_TRACE(rows);
    std::vector<int32_t> tokens(rows), lists(rows, 0);
    auto buffer = [&](const char *name) { return buffers.at<float>(places[name]); };
    Matrix x(rows), residual(rows);
    for (int64_t t = 0; t < rows; ++t) {
      tokens[t] = static_cast<int32_t>(random() % n);
      for (int64_t i = 0; i < k; ++i)
        x[t].push_back(buffer("x")[t * strides["x"] + i] = normal(random));
      for (int64_t i = 0; i < n; ++i)
        residual[t].push_back(buffer("residual")[t * strides["residual"] + i] = normal(random));
      int32_t first = t < 20 ? 0 : static_cast<int32_t>(random() % kExperts); // a long segment and short ones
      for (int64_t j = 0; j < kTopK; ++j) {
        buffers.at<int32_t>(places["ids"])[t * 32 + j] = static_cast<int32_t>((first + j) % kExperts);
        buffer("routing")[t * 32 + j] = 0.25f + 0.5f * j;
      }
    }
    QwenchStep step = {};
    step.tokens = tokens.data();
    step.positions = step.slots = step.context_lengths = step.output_rows = lists.data();
    step.rows = rows;
    step.arena = buffers.data(), step.weights = weights.data();
    run(rows <= 16 && rows % 2, step);
    if (testing::Test::HasFatalFailure())
      return;

    Matrix embedded, norm;
    for (int64_t t = 0; t < rows; ++t) {
      embedded.push_back(w[tokens[t]]);
      double squares = 0;
      for (double v : x[t])
        squares += v * v;
      norm.emplace_back();
      for (int64_t i = 0; i < k; ++i)
        norm[t].push_back(x[t][i] / std::sqrt(squares / k + 1e-6) * weights.at<float>(gammaAt)[i]);
    }
    expect("embedded", embedded, 1e-6);
    // A code of a norm may round the other way: the norm itself is rounded. Matrix units round weights to bf16, too.
    double ofNorm = options.floatInput == "norm" ? 5e-3 : 2e-3;
    norm = group ? quantized(norm, group) : input.isBF16() ? toBF16(norm) : norm;
    expect("normed", times(norm, w), ofNorm);
    if (inputName().empty())
      continue;
    Matrix q = group ? quantized(x, group) : options.floatInput == "norm" ? norm : x, plain = times(q, w), added = plain;
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = 0; i < n; ++i) {
        plain[t][i] += weights.at<float>(biasAt)[i];
        added[t][i] += residual[t][i];
      }
    double tolerance = options.floatInput == "norm" ? ofNorm : options.tolerance;
    expect("plain", plain, tolerance);
    expect("added", added, tolerance);
    expect("gated", swiglu(times(q, gateUp)), tolerance);
    Matrix combined(rows, std::vector<double>(k));
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t j = 0; j < kTopK; ++j) {
        int32_t e = buffers.at<int32_t>(places["ids"])[t * 32 + j];
        Matrix hidden = swiglu(times({q[t]}, experts[e]));
        std::vector<double> part = times(quantized(hidden, group), down[e])[0];
        for (int64_t i = 0; i < k; ++i)
          combined[t][i] += part[i] * (0.25 + 0.5 * j);
      }
    expect("combined", combined, options.floatInput == "norm" ? ofNorm : std::max(2e-3, 10 * options.tolerance));
  }
}
