// The head of a planned module that a test writes by hand.
#pragma once

#include <cstdint>
#include <string>

namespace qwench::test {

/// "module attributes {...}": a plan of so many bytes, and facts that nothing asks for.
inline std::string plannedModule(int64_t arenaBytes = 0, int64_t threadScratchBytes = 0, int64_t weightBytes = 0) {
  std::string facts;
  for (const char *name : {"max_context", "vocab_size", "logits_stride", "layers", "weight_bytes_per_token", "flops_per_token",
                           "flops_per_output", "attention_flops_per_pair"})
    facts += std::string(name) + " = 1 : i64, ";
  return "module attributes {qwen.plan = #qwen.plan<arenaBytes = " + std::to_string(arenaBytes) + ", threadScratchBytes = " +
         std::to_string(threadScratchBytes) + ", weightBytes = " + std::to_string(weightBytes) +
         ", cacheBytesPerPosition = 256, cacheGranule = 64, prefillRows = 512, decodeRows = 16>, qwen.plan_hash = 1 : i64, "
         "qwen.program = {" +
         facts + "name = \"kernels\", dtype = f32, kv_dtype = \"f32\"}}";
}

} // namespace qwench::test
