#include "benchmarks/kernels/kernel.h"

#include "runtime/core/cpu.h"
#include "runtime/core/weights.h"

#include "llvm/Support/MathExtras.h"

#include <cstring>

namespace qwench::kernels {

namespace {

/// Bytes that are positive, neither large nor small, in every format that activations and caches have: pairs of a random byte
/// and 0x3c are bf16 of 2^-7 and f16 of 1, two such pairs f32 of 2^-7; without bits 3 and 7 no e4m3 is a NaN.
void fillPlausible(QwenchTeam &team, uint8_t *memory, uint64_t bytes) {
  runOn(team, [&](int64_t thread, int64_t threads) {
    uint64_t words = bytes / 8, state = thread + 1;
    for (uint64_t i = words * thread / threads; i < words * (thread + 1) / threads; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      uint64_t word = (state >> 8 & 0x0077007700770077u) | 0x3c003c003c003c00u;
      std::memcpy(memory + 8 * i, &word, 8);
    }
  });
}

Status map(Mapping &mapping, uint64_t bytes) {
  Result<Mapping> made = Mapping::anonymous(std::max<uint64_t>(bytes, 64), /*hugePages=*/true);
  if (!made)
    return made.takeError();
  mapping = made.take();
  return ok();
}

} // namespace

Result<std::unique_ptr<Kernel>> Kernel::create(PlannedOp planned, const Target &target, QwenchTeam &team, const Rows &rows,
                                               bool decode) {
  std::unique_ptr<Kernel> kernel(new Kernel(team));
  kernel->decode = decode;
  Result<std::unique_ptr<LoadedProgram>> code = LoadedProgram::load(*planned.module, target);
  if (!code)
    return code.takeError();
  kernel->code = code.take();
  const QwenchProgram &program = kernel->code->program();
  if (Status able = requireCpuFeatures(program.features, program.cpu); !able)
    return able.takeError();
  kernel->planned = std::move(planned);
  if (Status allocated = kernel->allocate(rows); !allocated)
    return allocated.takeError();
  return kernel;
}

Status Kernel::allocate(const Rows &rows) {
  const QwenchProgram &program = code->program();
  const int64_t capacity = llvm::alignTo(rows.depth + rows.count, program.cache_granule);
  const uint64_t cacheBytes = planned.cacheBytes ? capacity * program.cache_bytes_per_position : 0;
  const uint64_t logitsBytes = rows.outputs ? rows.count * program.logits_stride * sizeof(float) : 0;
  for (auto [mapping, bytes] : {std::pair<Mapping *, uint64_t>{&weights, program.weight_bytes},
                                {&arena, program.arena_bytes + team.threads() * program.thread_scratch_bytes},
                                {&cache, cacheBytes}, {&logits, logitsBytes}})
    if (Status mapped = map(*mapping, bytes); !mapped)
      return mapped;
  fillRandom(planned.weights, weights.data(), team);
  fillPlausible(team, arena.data(), program.arena_bytes);
  fillPlausible(team, cache.data(), cacheBytes);
  for (int64_t i = 0; i < rows.count; ++i) {
    tokens.push_back(static_cast<int32_t>((i + 1) * 1000003 % program.vocab_size)); // rows of a table far apart
    positions.push_back(static_cast<int32_t>(rows.depth + i));
    slots.push_back(0);
    contexts.push_back(static_cast<int32_t>(rows.depth + rows.count));
    outputs.push_back(static_cast<int32_t>(i));
  }
  step = {tokens.data(), positions.data(), slots.data(), contexts.data(), outputs.data(), rows.count,
          rows.outputs ? rows.count : 0, capacity, arena.data(), weights.data(), cache.data(),
          reinterpret_cast<float *>(logits.data()), &team, /*draws=*/nullptr, /*drawn=*/nullptr};
  return ok();
}

void Kernel::run(const LoadedProgram &program) const {
  const QwenchStepFunction entry = decode ? program.program().decode : program.program().prefill;
  runOn(team, [&](int64_t thread, int64_t threads) { entry(&step, thread, threads); });
}

Status Kernel::setDispatch(PlannedOp sorted, const Target &target) {
  ids = sorted.operands.front();
  Result<std::unique_ptr<LoadedProgram>> loaded = LoadedProgram::load(*sorted.module, target);
  if (!loaded)
    return loaded.takeError();
  dispatch = loaded.take();
  return ok();
}

void Kernel::route(std::span<const int32_t> experts) {
  for (int64_t row = 0; row < step.rows; ++row)
    std::memcpy(step.arena + ids.offset + row * ids.stride, experts.data() + row * planned.topK, planned.topK * sizeof(int32_t));
  run(*dispatch);
}

} // namespace qwench::kernels
