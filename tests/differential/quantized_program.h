// One planned op of each kind with quantized weights, and what plain arithmetic on random codes makes of it: what the kernels
// of any target are compared with.
#pragma once

#include "dialects/Qwen.h"
#include "passes/plan/target_properties.h"
#include "runtime/abi/program.h"
#include "tests/differential/kernel_harness.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace qwench::test {

/// What a target's tiles are, as attributes, and what its products take.
struct QuantizedCase {
  std::string format; ///< of !qwen.quant
  int64_t k = 200;
  int64_t rowBound = 16; ///< of the steps that activations are for
  std::string linearTile = "512, 64, 128", groupedTile = "32, 128", combineTile = "64, 128";
  std::string floatInput = ""; ///< the buffer that products take where activations are not quantized: x (f32) or norm; none if empty
  int leastScale = 1;       ///< the least code of a group's e4m3 scales, which are positive
  double tolerance = 2e-5;  ///< of products, relative to their range
};

/// A planned module of one op of each kind, and where its buffers and weights lie.
class QuantizedProgram {
public:
  QuantizedProgram(mlir::MLIRContext &context, const TargetProperties &properties, const QuantizedCase &options);

  /// The module.
  std::string text();

  /// Fills weights with random codes, then for several numbers of rows activations, calls `run` (`decode`: for the entry of
  /// few rows), and compares what is in the arena.
  void compare(const std::function<void(bool decode, const QwenchStep &step)> &run);

  int64_t weightBytes = 0, arenaBytes = 0; ///< without scratch

private:
  int64_t weight(const std::string &name, std::vector<int64_t> shape, qwen::LayoutAttr layout, mlir::Type element);
  int64_t buffer(const std::string &name, int64_t width, const std::string &rows, int64_t factor, bool quant);
  int64_t declare(const std::string &name, const std::string &shape, const std::string &strides, const std::string &rows,
                  int64_t bytes);
  void op(const std::string &text, std::vector<std::string> operands);
  void build();
  void expect(const std::string &name, const std::vector<std::vector<double>> &expected, double tolerance);
  std::string element(bool quant) const;
  std::string inputName() const;

  const TargetProperties &properties;
  QuantizedCase options;
  qwen::QuantType type;
  qwen::LayoutAttr layout, paired;
  mlir::Type input;
  int64_t k, n = 72, group = 0;
  int64_t wAt, gateUpAt, expertsAt, downAt, biasAt, gammaAt;
  std::map<std::string, std::string> types;
  std::map<std::string, int64_t> strides, places;
  std::string weights, params, buffers, ops;
  Memory *arena = nullptr;
};

} // namespace qwench::test
