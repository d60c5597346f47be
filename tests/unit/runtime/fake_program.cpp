#include "tests/unit/runtime/fake_program.h"

#include "runtime/abi/xxh64.h"
#include "runtime/core/random.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <unistd.h>

namespace qwench::fake {

namespace {

std::mutex recordGuard;
std::vector<Record> records;

uint64_t weightHash(const uint8_t *weights) { return qwench_xxh64(weights, kWeightBytes, 7); }

void logitsAfter(const int32_t *tokens, int64_t count, uint64_t hash, float *out) {
  for (int64_t i = 0; i < count; ++i)
    hash = mix64(hash * 31 + static_cast<uint64_t>(tokens[i]) + 1);
  for (int64_t v = 0; v < kVocabulary; ++v)
    out[v] = static_cast<float>(mix64(hash + v) >> 40) * 0x1p-22f;
}

void record(const QwenchStep &step, bool decode) {
  auto copy = [](const int32_t *from, int64_t count) { return std::vector<int32_t>(from, from + count); };
  std::lock_guard<std::mutex> lock(recordGuard);
  records.push_back({decode, copy(step.tokens, step.rows), copy(step.positions, step.rows),
                     copy(step.slots, step.rows), copy(step.context_lengths, step.rows),
                     copy(step.output_rows, step.outputs)});
}

/// Two phases, as real steps have: all rows write to the cache, then the outputs read it.
void step(const QwenchStep *step, int64_t thread, int64_t threads, bool decode) {
  if (thread == 0)
    record(*step, decode);
  static const char *slow = getenv("QWENCH_FAKE_MICROSECONDS"); // per step, for tests that interrupt
  if (slow)
    usleep(static_cast<useconds_t>(atoi(slow)));
  auto *cache = reinterpret_cast<int32_t *>(step->cache);
  for (int64_t row = thread; row < step->rows; row += threads)
    cache[step->slots[row] * step->cache_capacity + step->positions[row]] = step->tokens[row];
  step->arena[64 + 64 * thread] = 1; // scratch is there
  qwench_team_barrier(step->team);
  for (int64_t i = thread; i < step->outputs; i += threads) {
    const int64_t row = step->output_rows[i];
    logitsAfter(cache + step->slots[row] * step->cache_capacity, step->positions[row] + 1,
                weightHash(step->weights), step->logits + i * kStride);
  }
  qwench_team_barrier(step->team);
}

void prefillStep(const QwenchStep *s, int64_t thread, int64_t threads) { step(s, thread, threads, false); }
void decodeStep(const QwenchStep *s, int64_t thread, int64_t threads) { step(s, thread, threads, true); }

} // namespace

std::vector<Record> takeRecords() {
  std::lock_guard<std::mutex> lock(recordGuard);
  return std::exchange(records, {});
}

std::string weights() {
  std::string bytes(kWeightBytes, '\0');
  Random random(3);
  for (char &byte : bytes)
    byte = static_cast<char>(random.next());
  return bytes;
}

std::vector<float> expectedLogits(const std::vector<int32_t> &tokens) {
  std::vector<float> logits(kVocabulary);
  logitsAfter(tokens.data(), static_cast<int64_t>(tokens.size()),
              weightHash(reinterpret_cast<const uint8_t *>(weights().data())), logits.data());
  return logits;
}

std::string bundleBytes(const std::vector<Part> &parts, uint64_t planHash, const std::string &prefix) {
  std::string file = prefix;
  std::vector<QwenchSection> table;
  for (const Part &part : parts) {
    file.resize((file.size() + QWENCH_BUNDLE_ALIGN - 1) / QWENCH_BUNDLE_ALIGN * QWENCH_BUNDLE_ALIGN);
    const bool weights = part.kind == QWENCH_SECTION_WEIGHTS;
    table.push_back({part.kind, 0, file.size(), part.bytes.size(),
                     weights ? 0 : qwench_xxh64(part.bytes.data(), part.bytes.size(), 0)});
    file += part.bytes;
  }
  file.resize((file.size() + 7) / 8 * 8);
  QwenchBundleTrailer trailer = {
      planHash, file.size(), 0, static_cast<uint32_t>(table.size()), QWENCH_BUNDLE_VERSION, {}};
  trailer.file_bytes = file.size() + table.size() * sizeof(QwenchSection) + sizeof trailer;
  memcpy(trailer.magic, QWENCH_BUNDLE_MAGIC, sizeof trailer.magic);
  file.append(reinterpret_cast<const char *>(table.data()), table.size() * sizeof(QwenchSection));
  file.append(reinterpret_cast<const char *>(&trailer), sizeof trailer);
  return file;
}

std::string metadata() {
  return R"({"name": "fake", "architecture": "Fake", "qwench_version": "0.1.0", "config": {"layers": 1},
             "generation": {"do_sample": false, "eos_token_ids": [49]}})";
}

std::string modelBytes(const std::string &prefix) {
  return bundleBytes({{QWENCH_SECTION_METADATA, metadata()}, {QWENCH_SECTION_WEIGHTS, weights()}},
                     qwench_program.plan_hash, prefix);
}

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TemporaryFile::TemporaryFile(const std::string &bytes) : name("/tmp/qwench-test-XXXXXX") {
  int fd = mkstemp(name.data());
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    abort();
  close(fd);
}

TemporaryFile::~TemporaryFile() { unlink(name.c_str()); }

} // namespace qwench::fake

extern "C" const QwenchProgram qwench_program = {
    .abi_version = QWENCH_ABI_VERSION,
    .struct_bytes = sizeof(QwenchProgram),
    .plan_hash = 0x1234567890abcdefull,
    .name = "fake",
    .target = "x86-64",
    .cpu = "x86-64-v2",
    .features = "sse2,cx16",
    .dtype = "f32",
    .kv_dtype = "f32",
    .vocab_size = qwench::fake::kVocabulary,
    .logits_stride = qwench::fake::kStride,
    .max_context = qwench::fake::kContext,
    .layers = 1,
    .prefill_rows = qwench::fake::kPrefillRows,
    .decode_rows = qwench::fake::kDecodeRows,
    .arena_bytes = 64,
    .thread_scratch_bytes = 64,
    .weight_bytes = qwench::fake::kWeightBytes,
    .weight_bytes_per_token = qwench::fake::kWeightBytes,
    .cache_bytes_per_position = sizeof(int32_t),
    .cache_granule = qwench::fake::kGranule,
    .flops_per_token = 100,
    .flops_per_output = 10,
    .attention_flops_per_pair = 1,
    .prefill = &qwench::fake::prefillStep,
    .decode = &qwench::fake::decodeStep,
    .device = nullptr,
};
