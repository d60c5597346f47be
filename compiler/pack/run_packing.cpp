// Executes a pack plan with several threads.
#include "compiler/pack/pack.h"
#include "compiler/pack/quantized_panels.h"
#include "compiler/pack/rows.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unistd.h>

namespace qwench::pack {

namespace {

// Bytes of output a thread makes before it writes them: large against the cost of a system call, small
// against memory.
constexpr int64_t kBlockBytes = 1 << 20;

/// A range of a matrix's panels or rows.
struct Job {
  size_t matrix;
  int64_t first, count;
};

std::vector<Job> jobsOf(const PackPlan &plan) {
  std::vector<Job> jobs;
  for (size_t i = 0; i < plan.matrices.size(); i++) {
    const Matrix &matrix = plan.matrices[i];
    int64_t step = std::max<int64_t>(kBlockBytes / std::max<int64_t>(matrix.unitBytes(), 1), 1);
    if (matrix.format && matrix.format->groupRows > 1) { // whole blocks of rows, so that few are looked at twice
      int64_t panelRows = matrix.pairHalves ? matrix.width / 2 : matrix.width;
      int64_t whole = std::max<int64_t>(matrix.format->groupRows / panelRows, 1);
      step = (step + whole - 1) / whole * whole;
    }
    for (int64_t first = 0; first < matrix.units; first += step)
      jobs.push_back({i, first, std::min(step, matrix.units - first)});
  }
  return jobs;
}

/// Rows of a matrix's concatenated segments. Those of a quantized segment are read as floats, as many at a time as
/// follow one another.
class RowReader {
public:
  explicit RowReader(const Matrix &matrix) : matrix(matrix) {}

  /// The rows of those numbers, valid until the next call; a number below 0 is a row of zeros.
  std::span<const SourceRow> read(std::span<const int64_t> numbers) {
    found.assign(numbers.size(), {});
    for (size_t i = 0; i < numbers.size();)
      i += numbers[i] < 0 ? 1 : readRun(numbers, i);
    return found;
  }

private:
  size_t readRun(std::span<const int64_t> numbers, size_t at);

  const Matrix &matrix;
  std::vector<SourceRow> found;
  std::vector<float> values; ///< [found.size(), columns], of the rows that are quantized
};

/// Finds the row numbers[at] and what follows it in its segment; gives the number of rows.
size_t RowReader::readRun(std::span<const int64_t> numbers, size_t at) {
  auto [segment, first, count] = firstRun(matrix, numbers.subspan(at));
  if (!segment->quantized) {
    int64_t rowBytes = matrix.columns * (hf::bits(segment->type) / 8);
    for (int64_t i = 0; i < count; i++)
      found[at + i] = {segment->data + (first + i) * rowBytes, segment->type};
    return count;
  }
  values.resize(found.size() * matrix.columns);
  float *to = values.data() + at * matrix.columns;
  segment->quantized->values(first, count, to, matrix.columns);
  for (int64_t i = 0; i < count; i++, to += matrix.columns)
    found[at + i] = {reinterpret_cast<const std::byte *>(to), hf::DType::F32};
  return count;
}

void fillPanels(const Matrix &matrix, const Job &job, std::byte *out) {
  PanelShape shape{matrix.width, matrix.depth, matrix.columns, matrix.paddedColumns, matrix.swizzled};
  RowReader reader(matrix);
  std::vector<int64_t> rows(matrix.width);
  for (int64_t panel = job.first; panel < job.first + job.count; panel++, out += matrix.unitBytes()) {
    for (int64_t lane = 0; lane < matrix.width; lane++)
      rows[lane] = laneRow(matrix, panel, lane);
    packPanel(reader.read(rows), shape, matrix.element, out);
  }
}

void fillRows(const Matrix &matrix, const Job &job, std::byte *out) {
  int64_t size = bytesOf(matrix.element), real = matrix.columns;
  RowReader reader(matrix);
  for (int64_t n = job.first; n < job.first + job.count; n++, out += matrix.unitBytes()) {
    SourceRow row = reader.read(std::span(&n, 1)).front();
    convert(row.data, row.type, out, matrix.element, real);
    std::memset(out + real * size, 0, (matrix.paddedColumns - real) * size);
  }
}

void fillVector(const Matrix &matrix, std::byte *out) {
  std::byte *end = out + matrix.unitBytes();
  for (const Segment &segment : matrix.segments) {
    convert(segment.data, segment.type, out, matrix.element, segment.rows);
    out += segment.rows * bytesOf(matrix.element);
  }
  std::memset(out, 0, end - out);
}

class Runner {
public:
  Runner(const PackPlan &plan, const TensorSource &source, const PackOptions &options)
      : plan(plan), source(source), options(options), jobs(jobsOf(plan)),
        remaining(std::make_unique<std::atomic<int64_t>[]>(plan.tensors.size())) {
    for (const Job &job : jobs)
      for (const Segment &segment : plan.matrices[job.matrix].segments)
        remaining[segment.tensor]++;
  }

  Status run() {
    std::vector<std::thread> threads;
    for (int i = 1; i < options.threads; i++)
      threads.emplace_back([this] { work(); });
    work();
    for (std::thread &thread : threads)
      thread.join();
    if (error)
      return *error;
    return ok();
  }

private:
  void work();
  Status write(const std::byte *data, uint64_t bytes, uint64_t offset);
  void finish(const Job &job, uint64_t bytes);

  const PackPlan &plan;
  const TensorSource &source;
  const PackOptions &options;
  std::vector<Job> jobs;
  std::unique_ptr<std::atomic<int64_t>[]> remaining; ///< jobs that still need each tensor
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> done = 0;
  std::atomic<bool> failed = false;
  std::mutex mutex; ///< of error and progress
  std::optional<Error> error;
};

void Runner::work() {
  std::vector<std::byte> block;
  for (size_t index; !failed && (index = next++) < jobs.size();) {
    const Job &job = jobs[index];
    const Matrix &matrix = plan.matrices[job.matrix];
    uint64_t bytes = job.count * matrix.unitBytes();
    block.resize(std::max<size_t>(block.size(), bytes));
    Status status = ok();
    if (matrix.vector)
      fillVector(matrix, block.data());
    else if (matrix.format)
      status = QuantizedPanels(plan, matrix).fill(job.first, job.count, block.data());
    else if (matrix.panels)
      fillPanels(matrix, job, block.data());
    else
      fillRows(matrix, job, block.data());
    uint64_t place = options.offset + matrix.offset + job.first * matrix.unitBytes();
    if (status)
      status = write(block.data(), bytes, place);
    if (!status) {
      std::lock_guard lock(mutex);
      if (!failed.exchange(true))
        error = status.takeError();
      return;
    }
    finish(job, bytes);
  }
}

Status Runner::write(const std::byte *data, uint64_t bytes, uint64_t offset) {
  while (bytes > 0) {
    ssize_t count = pwrite(options.descriptor, data, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return userError(std::string("cannot write weights: ") + strerror(errno));
    data += count, bytes -= count, offset += count;
  }
  return ok();
}

void Runner::finish(const Job &job, uint64_t bytes) {
  for (const Segment &segment : plan.matrices[job.matrix].segments)
    if (--remaining[segment.tensor] == 0)
      source.release(plan.tensors[segment.tensor]);
  uint64_t now = done += bytes;
  if (!options.progress)
    return;
  std::unique_lock lock(mutex, std::try_to_lock);
  if (lock || now == plan.bytes) {
    if (!lock)
      lock.lock();
    options.progress(now, plan.bytes);
  }
}

} // namespace

Status runPacking(const PackPlan &plan, const TensorSource &source, const PackOptions &options) {
  return Runner(plan, source, options).run();
}

} // namespace qwench::pack
