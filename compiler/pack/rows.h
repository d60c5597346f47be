// Where the rows of a packed matrix come from.
#pragma once

#include "compiler/pack/pack.h"

#include <span>

namespace qwench::pack {

/// The source row that lane `lane` of panel `panel` holds, or -1.
int64_t laneRow(const Matrix &matrix, int64_t panel, int64_t lane);

/// Consecutive rows of one segment.
struct RowRun {
  const Segment *segment = nullptr;
  int64_t first = 0, count = 0; ///< rows of the segment
};

/// The first of these rows of the matrix, and as many as follow one another with it in its segment. rows[0] >= 0.
RowRun firstRun(const Matrix &matrix, std::span<const int64_t> rows);

} // namespace qwench::pack
