"""What transformers says: fp32 logits, its own bf16 error, greedy continuations with their top-2 and router gaps."""

import torch

GREEDY_STEPS = 24
CANDIDATES = 16
CLEAR_GAP = 0.4


def kept_positions(length):
    """Every position of a short prompt; every 16th and the last 8 of a long one."""
    if length <= 32:
        return list(range(length))
    return sorted(set(range(0, length, 16)) | set(range(length - 8, length)))


def fresh_rope(model):
    """Puts the rotary tables back to their first state: dynamic ones remember the longest prompt they saw."""
    rope = model.model.rotary_emb
    model.model.rotary_emb = type(rope)(config=model.config)


@torch.no_grad()
def logits_of(model, ids):
    """[n, vocab] of one prompt in one pass."""
    fresh_rope(model)
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def has_choice(config):
    """Whether some router of the model leaves an expert out."""
    return getattr(config, "num_experts", 0) > getattr(config, "num_experts_per_tok", 0)


def least_gap(router_logits, k):
    """Per token: the least gap, over layers, between the router logits of the last chosen expert and of the next."""
    ordered = [layer.float().sort(dim=-1, descending=True)[0] for layer in router_logits]
    return torch.stack([s[:, k - 1] - s[:, k] for s in ordered]).min(dim=0)[0]


@torch.no_grad()
def router_gaps(model, ids):
    """least_gap of each position of a prompt; None where every expert is always chosen."""
    if not has_choice(model.config):
        return None
    fresh_rope(model)
    out = model(torch.tensor([ids]), use_cache=False, output_router_logits=True)
    return least_gap(out.router_logits, model.config.num_experts_per_tok)


@torch.no_grad()
def random_prompt(model, length, generator):
    """Random ids. With a router: ids whose routing is not near a tie, so that rounding does not change experts.

    A flipped expert moves a row's logits by far more than rounding does, and would be all that a bf16 run measures.
    Each position takes the first of 16 random candidates whose least gap is clear, else the one with the largest.
    """
    vocab, config = model.config.vocab_size, model.config
    draws = torch.randint(vocab, (length, CANDIDATES), generator=generator)
    if not has_choice(config):
        return draws[:, 0].tolist()
    fresh_rope(model)
    ids, cache = [], None
    for draw in draws:
        out = model(draw[:, None], past_key_values=cache, use_cache=True, output_router_logits=True)
        cache = out.past_key_values
        gap = least_gap(out.router_logits, config.num_experts_per_tok)
        clear = (gap > CLEAR_GAP).nonzero()
        row = int(clear[0]) if len(clear) else int(gap.argmax())
        ids.append(int(draw[row]))
        cache.reorder_cache(torch.full((CANDIDATES,), row))
    return ids


@torch.no_grad()
def greedy(model, ids):
    """24 tokens by argmax with a cache, as generate() does; per step the gap between the two best logits, and the
    least_gap of the row that they come from (None where every expert is always chosen)."""
    fresh_rope(model)
    tokens, gaps, cache, feed = [], [], None, torch.tensor([ids])
    routed, k = [], getattr(model.config, "num_experts_per_tok", 0)
    choice = dict(output_router_logits=True) if has_choice(model.config) else {}
    for _ in range(GREEDY_STEPS):
        out = model(feed, past_key_values=cache, use_cache=True, **choice)
        cache = out.past_key_values
        best = out.logits[0, -1].float().topk(2)
        tokens.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
        if choice:
            routed.append(float(least_gap(out.router_logits, k)[-1]))
        feed = torch.tensor([[tokens[-1]]])
    return tokens, gaps, routed or None


def kl(reference, other):
    """Per row: KL(softmax(reference) || softmax(other)) in nats, computed in float64."""
    p, q = (torch.log_softmax(x.double(), dim=-1) for x in (reference, other))
    return (p.exp() * (p - q)).sum(dim=-1)


def rounded(values):
    """Six significant digits, for JSON."""
    return [float(f"{float(v):.6g}") for v in values]
