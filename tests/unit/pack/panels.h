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

  float value(int64_t panel, int64_t lane, int64_t k) const {
    const uint8_t *at = bytes + panel * panelBytes;
    float rowScale = 1;
    if (format.rowScales) {
      std::memcpy(&rowScale, at + 4 * lane, 4);
      at += 32 * 4;
    }
    int64_t columns = format.groupColumns(paddedColumns), scaleBytes = format.group ? bytesOf(format.scale) : 4;
    int64_t codeBytes = columns * 32 * bitsOf(format.storage) / 8;
    at += k / columns * (32 * (scaleBytes + format.zeroPoints) + codeBytes);
    float scale = loadScale(format.group ? format.scale : Scale::F32,
                            reinterpret_cast<const std::byte *>(at + lane * scaleBytes));
    int zero = format.zeroPoints ? at[32 * scaleBytes + lane] : format.storage == Storage::I8 ? 128 : 8;
    uint8_t code = codeAt(at + 32 * (scaleBytes + format.zeroPoints), lane, k % columns);
    if (format.storage == Storage::E2M1)
      return fromE2M1(code) * scale * rowScale;
    if (format.storage == Storage::E4M3)
      return fromE4M3(code) * scale * rowScale;
    return static_cast<float>(code - zero) * scale * rowScale;
  }

  uint8_t codeAt(const uint8_t *codes, int64_t lane, int64_t k) const {
    if (bitsOf(format.storage) == 8)
      return codes[k / depth * 32 * depth + lane * depth + k % depth];
    uint8_t byte = codes[k / depth * 16 * depth + lane % 16 * depth + k % depth];
    return lane < 16 ? byte & 15 : byte >> 4;
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
