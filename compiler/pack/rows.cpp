#include "compiler/pack/rows.h"

#include <algorithm>

namespace qwench::pack {

int64_t laneRow(const Matrix &matrix, int64_t panel, int64_t lane) {
  if (!matrix.pairHalves) {
    int64_t row = panel * matrix.width + lane;
    return row < matrix.rows ? row : -1;
  }
  int64_t half = matrix.rows / 2, lanes = matrix.width / 2, row = panel * lanes + lane % lanes;
  return row < half ? lane / lanes * half + row : -1;
}

RowRun firstRun(const Matrix &matrix, std::span<const int64_t> rows) {
  RowRun run{matrix.segments.data(), rows[0], 1};
  for (; run.first >= run.segment->rows; run.segment++)
    run.first -= run.segment->rows;
  int64_t most = std::min<int64_t>(rows.size(), run.segment->rows - run.first);
  while (run.count < most && rows[run.count] == rows[0] + run.count)
    run.count++;
  return run;
}

} // namespace qwench::pack
