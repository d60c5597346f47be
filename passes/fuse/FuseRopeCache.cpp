// fuse-rope-cache: QK-norm, RoPE and the cache write in one pass over the fused projection.
//
// Does: replaces the norms and rotations of queries and keys and the cache write by one op on the projection
//   whose columns are q, k and v. Attention reads that op's result.
// Assumes: fuse-qkv ran; without it nothing matches.
// Guarantees: the cache is written at the same place among the other reads and writes.
//
//   %q = tensor.extract_slice %qkv[0, 0] ...; %k = ...; %v = ...
//   %qr = rope(rms_norm(split_heads(%q), %nq), %rope)
//   %kr = rope(rms_norm(split_heads(%k), %nk), %rope)
//   qwen.cache_write(%kr, split_heads(%v), %batch) into %cache[%layer]
// =>
//   %qr = qwen.qk_norm_rope_cache(%qkv, %nq, %nk, %rope, %batch) into %cache[%layer]
#include "passes/fuse/Fusion.h"
#include "passes/fuse/Heads.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSEROPECACHE
#include "passes/Passes.h.inc"

namespace {

/// Whether `path` starts at columns `offset ..` of `source`, all rows of them.
bool startsAt(const HeadPath &path, Value source, int64_t offset) {
  auto slice =
      path.projection ? path.projection.getDefiningOp<tensor::ExtractSliceOp>() : tensor::ExtractSliceOp();
  return slice && slice.getSource() == source && slice.getStaticOffsets() == ArrayRef<int64_t>{0, offset} &&
         slice.getStaticStrides() == ArrayRef<int64_t>{1, 1} && slice.getType().getRank() == 2;
}

Value sliceSource(const HeadPath &path) {
  auto slice =
      path.projection ? path.projection.getDefiningOp<tensor::ExtractSliceOp>() : tensor::ExtractSliceOp();
  return slice ? slice.getSource() : Value();
}

int64_t width(const HeadPath &path) {
  return cast<RankedTensorType>(path.projection.getType()).getDimSize(1);
}

struct FuseWrite : OpRewritePattern<CacheWriteOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CacheWriteOp write, PatternRewriter &rewriter) const override {
    AttentionOp attention = attentionBehind(write);
    if (!attention)
      return rewriter.notifyMatchFailure(write, "no attention reads this layer behind the write");
    HeadPath query = traceHeads(attention.getQuery()), key = traceHeads(write.getKey()),
             value = traceHeads(write.getValue());
    if (!query.rope || !query.norm || !key.rope || !key.norm || value.rope || value.norm)
      return rewriter.notifyMatchFailure(write, "query and key are not normed and rotated, or the value is");
    Value qkv = sliceSource(query);
    if (!qkv || !startsAt(query, qkv, 0) || !startsAt(key, qkv, width(query)) ||
        !startsAt(value, qkv, width(query) + width(key)) ||
        cast<RankedTensorType>(qkv.getType()).getDimSize(1) != width(query) + width(key) + width(value))
      return rewriter.notifyMatchFailure(write, "query, key and value are not the columns of one projection");
    if (query.norm.getEpsAttr() != key.norm.getEpsAttr() || query.rope.getTable() != key.rope.getTable())
      return rewriter.notifyMatchFailure(write, "query and key have different eps or rope tables");
    if (!key.rope->hasOneUse() || !value.split->hasOneUse())
      return rewriter.notifyMatchFailure(write, "key or value has other users");
    for (Operation *user : query.rope->getUsers())
      if (user->getBlock() != write->getBlock() || user->isBeforeInBlock(write))
        return rewriter.notifyMatchFailure(write, "the query is read before the cache is written");
    for (Value operand :
         {qkv, Value(query.norm.getWeight()), Value(key.norm.getWeight()), query.rope.getTable()})
      if (!isDefinedBefore(operand, write))
        return rewriter.notifyMatchFailure(write, "an operand is not of the write's block");

    auto fused = QkNormRopeCacheOp::create(
        rewriter, rewriter.getFusedLoc({query.rope.getLoc(), key.rope.getLoc(), write.getLoc()}),
        query.rope->getResultTypes(), qkv, query.norm.getWeight(), key.norm.getWeight(),
        query.rope.getTable(), write.getCache(), write.getLayer(), write.getBatch(), ValueRange(),
        query.norm.getEpsAttr(), nullptr);
    rewriter.replaceOp(query.rope, fused);
    rewriter.eraseOp(write);
    return success();
  }
};

struct FuseRopeCache : impl::FuseRopeCacheBase<FuseRopeCache> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseWrite>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
