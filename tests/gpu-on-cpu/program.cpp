#include "tests/gpu-on-cpu/program.h"

#include "compiler/target/gpu/properties.h"
#include "passes/plan/plan.h"

#include "mlir/Pass/PassManager.h"

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace qwench::gpu_test {

namespace {

/// 64-byte aligned memory whose every byte is `fill` at first.
class Memory {
public:
  Memory() = default;
  Memory(uint64_t bytes, int fill) : bytes(bytes), data(static_cast<uint8_t *>(aligned_alloc(256, (bytes + 256) / 256 * 256))) {
    std::memset(data.get(), fill, bytes);
  }
  uint8_t *get() const { return data.get(); }
  Range range(bool writable) const { return {data.get(), bytes, writable}; }
  uint64_t bytes = 0;

private:
  struct Free {
    void operator()(uint8_t *p) const { free(p); }
  };
  std::unique_ptr<uint8_t, Free> data;
};

} // namespace

Result<std::vector<int32_t>> draw(Kernels &kernels, const std::vector<QwenchDraw> &draws, const std::vector<float> &logits,
                                  int64_t vocabulary) {
  const int64_t rows = static_cast<int64_t>(logits.size()) / vocabulary, stride = gpu::properties().rowStride(vocabulary, 4);
  Memory memory(rows * stride * 4, 0xff);
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(memory.get() + row * stride * 4, logits.data() + row * vocabulary, vocabulary * 4);
  std::vector<int32_t> drawn(draws.size());
  QwenchStep step = {};
  step.rows = static_cast<int64_t>(draws.size());
  step.logits = reinterpret_cast<float *>(memory.get()), step.draws = draws.data(), step.drawn = drawn.data();
  if (Status ran = kernels.run(Entry::Sample, step, {memory.range(false), rangeOf(draws), rangeOf(drawn, true)}); !ran)
    return ran.takeError();
  return drawn;
}

struct Program::Code {
  std::unique_ptr<Kernels> kernels;
  qwen::PlanAttr plan;
  int64_t vocabulary = 0, logitsStride = 0, capacity = 0;
  Memory weights, arena, cache, logits;

  Status pack(ModuleOp planned, const pack::TensorSource &source);
};

Status Program::Code::pack(ModuleOp planned, const pack::TensorSource &source) {
  Result<pack::PackPlan> packing = pack::planPacking(planned, source);
  if (!packing)
    return packing.takeError();
  Result<uint64_t> bytes = pack::sectionBytes(planned);
  if (!bytes)
    return bytes.takeError();
  int file = memfd_create("weights", 0);
  if (file < 0 || ftruncate(file, static_cast<off_t>(*bytes)) != 0)
    return internalError("cannot make a file for weights");
  pack::PackOptions options;
  options.descriptor = file;
  Status packed = pack::runPacking(*packing, source, options);
  weights = Memory(*bytes, 0xff);
  bool whole = pread(file, weights.get(), *bytes, 0) == static_cast<ssize_t>(*bytes);
  close(file);
  return packed && !whole ? internalError("cannot read packed weights") : packed;
}

Program::Program() : code(std::make_unique<Code>()) {}
Program::~Program() = default;

Result<std::unique_ptr<Program>> Program::create(ModuleOp fused, const gpu::Device &device, const pack::TensorSource &source,
                                                 int64_t slots, int64_t capacity, gpu::Schedule schedule) {
  std::unique_ptr<Program> program(new Program());
  Code &code = *program->code;
  OwningOpRef<ModuleOp> module = fused.clone();
  if (Status supported = gpu::supports(*module, "GPUs"); !supported)
    return supported.takeError();
  PassManager planning(module->getContext());
  buildPlanPipeline(planning, gpu::properties(device.matrix == gpu::MatrixUnit::Wgmma), {"test", capacity});
  if (failed(planning.run(*module)))
    return internalError("cannot plan");
  if (Status packed = code.pack(*module, source); !packed)
    return packed.takeError();
  code.plan = (*module)->getAttrOfType<qwen::PlanAttr>("qwen.plan");
  auto facts = (*module)->getAttrOfType<DictionaryAttr>("qwen.program");
  code.vocabulary = facts.getAs<IntegerAttr>("vocab_size").getInt();
  code.logitsStride = facts.getAs<IntegerAttr>("logits_stride").getInt();
  Result<std::unique_ptr<Kernels>> kernels = emitKernels(*module, device, schedule);
  if (!kernels)
    return kernels.takeError();
  code.kernels = kernels.take();
  code.capacity = llvm::alignTo(capacity, code.plan.getCacheGranule());
  code.arena = Memory(code.plan.getArenaBytes() + code.plan.getThreadScratchBytes(), 0xff);
  code.cache = Memory(slots * code.capacity * code.plan.getCacheBytesPerPosition(), 0);
  code.logits = Memory(std::max(code.plan.getPrefillRows(), code.plan.getDecodeRows()) * code.logitsStride * 4, 0xff);
  return program;
}

int64_t Program::decodeRows() const { return code->plan.getDecodeRows(); }

Result<std::vector<int32_t>> Program::sample(const std::vector<QwenchDraw> &draws, const std::vector<float> &logits,
                                             int64_t vocabulary) {
  return draw(*code->kernels, draws, logits, vocabulary);
}

Result<std::vector<float>> Program::forward(const evaluator::BatchRows &batch, bool decode) {
  std::vector<uint32_t> arrived = {0}; // where the blocks of a cooperative kernel meet
  QwenchStep step = {};
  step.tokens = batch.tokens.data(), step.positions = batch.positions.data(), step.slots = batch.slots.data();
  step.context_lengths = batch.contextLengths.data(), step.output_rows = batch.outputRows.data();
  step.rows = static_cast<int64_t>(batch.rows()), step.outputs = static_cast<int64_t>(batch.outputRows.size());
  step.cache_capacity = code->capacity;
  step.team = reinterpret_cast<QwenchTeam *>(arrived.data());
  step.arena = code->arena.get(), step.weights = code->weights.get(), step.cache = code->cache.get();
  step.logits = reinterpret_cast<float *>(code->logits.get());
  std::vector<Range> ranges{code->arena.range(true), code->weights.range(false), code->cache.range(true), code->logits.range(true),
                            rangeOf(arrived, true)};
  for (const auto *list : {&batch.tokens, &batch.positions, &batch.slots, &batch.contextLengths, &batch.outputRows})
    ranges.push_back(rangeOf(*list));
  if (Status ran = code->kernels->run(decode ? Entry::Decode : Entry::Prefill, step, ranges); !ran)
    return ran.takeError();
  std::vector<float> logits;
  for (int64_t row = 0; row < step.outputs; ++row)
    logits.insert(logits.end(), step.logits + row * code->logitsStride, step.logits + row * code->logitsStride + code->vocabulary);
  return logits;
}

} // namespace qwench::gpu_test
