// The golden models of tests/golden, as the reference evaluator needs them.
#pragma once

#include "dialects/evaluator/Evaluator.h"
#include "frontends/huggingface/checkpoint.h"
#include "frontends/huggingface/import/import.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace qwench {

/// Names of all golden models, sorted.
std::vector<std::string> goldenModels();

/// tests/golden/models/NAME.
std::string goldenDirectory(const std::string &name);

/// The model stage of a golden model's configuration: matrices and cache of the given types.
Result<mlir::OwningOpRef<mlir::ModuleOp>> importGolden(mlir::MLIRContext &context, const std::string &name,
                                                       ElementType dtype, CacheFormat kvDtype);

/// The checkpoint of a golden model, validated.
Result<hf::Checkpoint> openGolden(const std::string &name);

/// Weights of a checkpoint; of quantized matrices the dequantized values.
evaluator::NamedWeights checkpointWeights(hf::Checkpoint checkpoint);

/// What transformers computed for a prompt.
struct Prompt {
  std::string name;
  std::vector<int32_t> tokens, positions, greedy;
  std::vector<float> greedyGap;
  std::vector<float> logits; ///< [positions, vocab]
};
Result<std::vector<Prompt>> goldenPrompts(const std::string &name);

/// Rows first .. first + count of `tokens` in `slot`; the sequence is `context` tokens long. No output is
/// wanted.
evaluator::BatchRows rowsOf(const std::vector<int32_t> &tokens, size_t first, size_t count, int32_t slot,
                            int32_t context);

/// `batch` with the rows of another sequence behind its own.
void append(evaluator::BatchRows &batch, const evaluator::BatchRows &more);

} // namespace qwench
