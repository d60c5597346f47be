// qwen-interpret: prints the logits that the reference evaluator computes for a module.
//
// Does: runs `@forward` of a model- or fused-stage module over the tokens of one sequence, with pseudo-random
//   weights of the seed, and prints a line of logits for each token to stdout. The module stays as it is.
// Assumes: the module verifies.
// Guarantees: the same numbers for the same model, fused or not, up to rounding.
//
//   --qwen-interpret="tokens=1,2,3 seed=1"   =>   logits 0: 0.12 -0.34 ...
#include "compiler/opt/Interpret.h"

#include "dialects/evaluator/Evaluator.h"

#include "mlir/Pass/Pass.h"
#include "llvm/Support/Format.h"

#include <numeric>

using namespace mlir;

namespace qwench {
namespace {

/// Rows first .. first + count of a sequence in slot 0, all of whose logits are wanted.
evaluator::BatchRows sequenceRows(ArrayRef<int32_t> tokens, size_t first, size_t count) {
  evaluator::BatchRows rows;
  ArrayRef<int32_t> chunk = tokens.slice(first, count);
  rows.tokens.assign(chunk.begin(), chunk.end());
  rows.positions.resize(count);
  std::iota(rows.positions.begin(), rows.positions.end(), static_cast<int32_t>(first));
  rows.slots.assign(count, 0);
  rows.contextLengths.assign(count, static_cast<int32_t>(tokens.size()));
  rows.outputRows.resize(count);
  std::iota(rows.outputRows.begin(), rows.outputRows.end(), 0);
  return rows;
}

struct Interpret : PassWrapper<Interpret, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Interpret)

  Interpret() = default;
  Interpret(const Interpret &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "qwen-interpret"; }
  StringRef getDescription() const override {
    return "prints the logits that the reference evaluator computes";
  }

  ListOption<int32_t> tokens{*this, "tokens", llvm::cl::desc("token ids of the sequence")};
  Option<uint64_t> seed{*this, "seed", llvm::cl::desc("of the pseudo-random weights"), llvm::cl::init(1)};
  Option<uint64_t> chunk{*this, "chunk", llvm::cl::desc("most tokens of a step; 0: all in one"),
                         llvm::cl::init(0)};
  Option<uint64_t> columns{*this, "columns", llvm::cl::desc("logits printed of each row; 0: all"),
                           llvm::cl::init(0)};

  void runOnOperation() override {
    SmallVector<int32_t> sequence(tokens.begin(), tokens.end());
    if (sequence.empty()) {
      emitError(getOperation().getLoc(), "expected tokens=ID,... of qwen-interpret");
      return signalPassFailure();
    }
    evaluator::RandomWeights weights(seed);
    evaluator::Evaluator evaluator(getOperation(), weights);
    size_t step = chunk ? static_cast<size_t>(chunk) : sequence.size();
    for (size_t first = 0; first < sequence.size(); first += step) {
      size_t count = std::min(step, sequence.size() - first);
      Result<std::vector<float>> logits = evaluator.forward(sequenceRows(sequence, first, count));
      if (!logits) {
        emitError(getOperation().getLoc(), logits.error().message);
        return signalPassFailure();
      }
      print(*logits, first, count);
    }
  }

  void print(ArrayRef<float> logits, size_t first, size_t count) {
    size_t width = logits.size() / count, shown = columns ? std::min<size_t>(columns, width) : width;
    for (size_t row = 0; row < count; ++row) {
      llvm::outs() << "logits " << first + row << ":";
      for (float logit : logits.slice(row * width, shown))
        llvm::outs() << llvm::format(" %.4f", logit);
      llvm::outs() << "\n";
    }
  }
};

} // namespace

void registerInterpretPass() { PassRegistration<Interpret>(); }

} // namespace qwench
