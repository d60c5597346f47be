// Packed sections of quantized weights, as tests read them.
#pragma once

#include "compiler/pack/pack.h"
#include "dialects/quantization/codes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace qwench::pack::reading {

using namespace qwench::quantization;

/// One packed matrix, by the formulas of the layout.
struct Panels {
  const uint8_t *bytes;
  Format format;
  int64_t panelBytes, paddedColumns, depth;
  int64_t width = 32;
  bool planes = false;

  float value(int64_t panel, int64_t lane, int64_t k) const {
    const uint8_t *at = bytes + panel * panelBytes;
    int64_t columns = format.groupColumns(paddedColumns), scaleBytes = format.group ? bytesOf(format.scale) : 4;
    int64_t groups = paddedColumns / columns, group = k / columns, codeBytes = columns * width * bitsOf(format.storage) / 8;
    int64_t zeroBytes = format.zeroPoints ? width : 0, header = format.rowScales ? 4 * width : 0;
    int64_t stride = width * scaleBytes + zeroBytes + codeBytes;
    const uint8_t *rowScales = planes ? at + groups * codeBytes : at;
    const uint8_t *scales = planes ? rowScales + header + group * width * scaleBytes : at + header + group * stride;
    const uint8_t *zeros = planes ? rowScales + header + groups * width * scaleBytes + group * width : scales + width * scaleBytes;
    const uint8_t *codes = planes ? at + group * codeBytes : zeros + zeroBytes;
    float rowScale = 1;
    if (format.rowScales)
      std::memcpy(&rowScale, rowScales + 4 * lane, 4);
    float scale = loadScale(format.group ? format.scale : Scale::F32, reinterpret_cast<const std::byte *>(scales + lane * scaleBytes));
    int zero = format.zeroPoints ? zeros[lane] : format.storage == Storage::I8 ? 128 : 8;
    uint8_t code = codeAt(codes, lane, k % columns);
    if (format.storage == Storage::E2M1)
      return fromE2M1(code) * scale * rowScale;
    if (format.storage == Storage::E4M3)
      return fromE4M3(code) * scale * rowScale;
    return static_cast<float>(code - zero) * scale * rowScale;
  }

  uint8_t codeAt(const uint8_t *codes, int64_t lane, int64_t k) const {
    if (bitsOf(format.storage) == 8)
      return codes[k / depth * width * depth + lane * depth + k % depth];
    int64_t half = width / 2;
    uint8_t byte = codes[k / depth * half * depth + lane % half * depth + k % depth];
    return lane < half ? byte & 15 : byte >> 4;
  }
};

/// The section that is packed for a module, or why there is none.
inline Result<std::vector<uint8_t>> tryPacking(mlir::ModuleOp module, const TensorSource &source, int threads) {
  Result<PackPlan> plan = planPacking(module, source);
  if (!plan)
    return plan.takeError();
  int fd = memfd_create("section", 0);
  PackOptions options;
  options.descriptor = fd, options.threads = threads;
  Status status = runPacking(*plan, source, options);
  std::vector<uint8_t> bytes(plan->extent);
  if (status)
    EXPECT_EQ(static_cast<ssize_t>(bytes.size()), pread(fd, bytes.data(), bytes.size(), 0));
  close(fd);
  if (!status)
    return status.takeError();
  return bytes;
}

/// The section; the test fails without one.
inline std::vector<uint8_t> packed(mlir::ModuleOp module, const TensorSource &source, int threads) {
  Result<std::vector<uint8_t>> bytes = tryPacking(module, source, threads);
  EXPECT_TRUE(bytes) << bytes.error().message;
  return bytes ? bytes.take() : std::vector<uint8_t>();
}

} // namespace qwench::pack::reading
