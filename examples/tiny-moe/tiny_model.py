"""Qwen3-MoE for training on a CPU: the mathematics of transformers' Qwen3MoeForCausalLM with experts as segments.

transformers loops over experts with a one-hot mask; here the token-expert pairs are sorted by expert, and each expert
multiplies one contiguous segment. Segments are padded with rows of weight 0 to a multiple of SEGMENT, because the
matrix library generates code for every new shape.
"""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(
    architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", hidden_act="silu", attention_bias=False,
    attention_dropout=0.0, decoder_sparse_step=1, mlp_only_layers=[0, 3], head_dim=64, hidden_size=256,
    initializer_range=0.02, intermediate_size=512, max_position_embeddings=1024, moe_intermediate_size=128,
    norm_topk_prob=True, num_attention_heads=4, num_experts=8, num_experts_per_tok=2, num_hidden_layers=6,
    num_key_value_heads=2, output_router_logits=False, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000.0,
    router_aux_loss_coef=0.001, sliding_window=None, tie_word_embeddings=True, torch_dtype="bfloat16", use_cache=True,
    use_sliding_window=False, vocab_size=4096,
)


SEGMENT = 64


class Layer(nn.Module):
    """Attention and either a dense MLP or experts; weights named as in the checkpoint, experts stacked."""

    def __init__(self, c, sparse):
        super().__init__()
        heads, kv, dim, hidden = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["hidden_size"]
        matrix = lambda *shape: nn.Parameter(torch.randn(*shape) * 0.02)
        out = lambda *shape: nn.Parameter(torch.randn(*shape) * 0.02 / (2 * c["num_hidden_layers"]) ** 0.5)
        self.c, self.sparse = c, sparse
        self.norm1, self.norm2 = (nn.Parameter(torch.ones(hidden)) for _ in range(2))
        self.q_norm, self.k_norm = (nn.Parameter(torch.ones(dim)) for _ in range(2))
        self.q, self.k, self.v = matrix(heads * dim, hidden), matrix(kv * dim, hidden), matrix(kv * dim, hidden)
        self.o = out(hidden, heads * dim)
        if sparse:
            experts, inner = c["num_experts"], c["moe_intermediate_size"]
            self.router = matrix(experts, hidden)
            self.gate_up, self.down = matrix(experts, 2 * inner, hidden), out(experts, hidden, inner)
        else:
            inner = c["intermediate_size"]
            self.gate_up, self.down = matrix(2 * inner, hidden), out(hidden, inner)

    def norm(self, x, weight):
        return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), self.c["rms_norm_eps"])

    def attention(self, x, cos, sin):
        """Causal attention over x [B, T, H]; cos and sin [T, head_dim], the first half of sin negated."""
        batch, tokens, _ = x.shape
        split = lambda w: F.linear(x, w).view(batch, tokens, -1, self.c["head_dim"]).transpose(1, 2)
        turn = lambda t: t * cos.to(t.dtype) + torch.cat(t.chunk(2, -1)[::-1], -1) * sin.to(t.dtype)
        q, k = turn(self.norm(split(self.q), self.q_norm)), turn(self.norm(split(self.k), self.k_norm))
        v = split(self.v)
        shared = q.reshape(k.shape[0], k.shape[1], -1, self.c["head_dim"])
        scores = (shared @ k.transpose(2, 3)).view(batch, -1, tokens, tokens) * self.c["head_dim"] ** -0.5
        future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -torch.inf).softmax(-1).to(v.dtype)
        a = weights.view(batch, k.shape[1], -1, tokens) @ v
        return F.linear(a.view(q.shape).transpose(1, 2).reshape(batch, tokens, -1), self.o)

    @staticmethod
    def swiglu(x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, -1)
        return F.linear(F.silu(gate) * up, down)

    def experts(self, x):
        """x [N, H] to (sum of the chosen experts [N, H], load-balancing loss of this layer)."""
        k, experts = self.c["num_experts_per_tok"], self.c["num_experts"]
        with torch.autocast("cpu", enabled=False):
            probability = F.linear(x.float(), self.router).softmax(-1)
        weight, chosen = probability.topk(k, -1)
        weight = weight / weight.sum(-1, keepdim=True)
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=experts)
        padded = (counts + SEGMENT - 1) // SEGMENT * SEGMENT
        shift = (padded - counts).cumsum(0) - (padded - counts)
        place = torch.arange(len(order)) + shift.repeat_interleave(counts)
        token = torch.zeros(int(padded.sum()), dtype=torch.long).index_copy(0, place, order // k)
        share = torch.zeros(len(token)).index_copy(0, place, weight.flatten()[order])
        parts = x[token].split(padded.tolist())
        y = torch.cat([self.swiglu(p, g, d) for p, g, d in zip(parts, self.gate_up, self.down)])
        y = y * share[:, None].to(y.dtype)
        balance = experts * (counts / len(order) * probability.mean(0)).sum()
        return torch.zeros_like(x, dtype=y.dtype).index_add(0, token, y), balance

    def forward(self, x, cos, sin):
        x = x + self.attention(self.norm(x, self.norm1), cos, sin)
        h = self.norm(x, self.norm2)
        if not self.sparse:
            return x + self.swiglu(h, self.gate_up, self.down), 0.0
        y, balance = self.experts(h.reshape(-1, h.shape[-1]))
        return x + y.view_as(x), balance


class TinyMoe(nn.Module):
    def __init__(self, c=None):
        super().__init__()
        self.c = c = c or CONFIG
        self.embedding = nn.Parameter(torch.randn(c["vocab_size"], c["hidden_size"]) * 0.02)
        self.layers = nn.ModuleList(Layer(c, i not in c["mlp_only_layers"]) for i in range(c["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(c["hidden_size"]))

    def forward(self, ids):
        """ids [B, T] to (logits [B, T, vocab], mean load-balancing loss; 1 is perfect balance)."""
        dim, positions = self.c["head_dim"], torch.arange(ids.shape[1])
        angle = positions[:, None] * self.c["rope_theta"] ** (-torch.arange(0, dim, 2) / dim)
        angle = torch.cat((angle, angle), -1)
        sign = torch.cat((-torch.ones(dim // 2), torch.ones(dim // 2)))
        x, losses = F.embedding(ids, self.embedding), []
        for layer in self.layers:
            x, balance = layer(x, angle.cos(), angle.sin() * sign)
            losses += [balance] if layer.sparse else []
        x = F.rms_norm(x, (x.shape[-1],), self.norm, self.c["rms_norm_eps"])
        return F.linear(x, self.embedding), sum(losses) / len(losses)

    def checkpoint(self):
        """Tensors under the names of transformers' checkpoints."""
        state = {"model.embed_tokens.weight": self.embedding, "model.norm.weight": self.norm}
        for i, layer in enumerate(self.layers):
            at = f"model.layers.{i}."
            state |= {at + "input_layernorm.weight": layer.norm1, at + "post_attention_layernorm.weight": layer.norm2,
                      at + "self_attn.q_norm.weight": layer.q_norm, at + "self_attn.k_norm.weight": layer.k_norm}
            state |= {f"{at}self_attn.{n}_proj.weight": getattr(layer, n) for n in "qkvo"}
            if layer.sparse:
                state[at + "mlp.gate.weight"] = layer.router
                blocks = [(f"{at}mlp.experts.{e}.", layer.gate_up[e], layer.down[e])
                          for e in range(self.c["num_experts"])]
            else:
                blocks = [(at + "mlp.", layer.gate_up, layer.down)]
            for name, gate_up, down in blocks:
                gate, up = gate_up.chunk(2, 0)
                state |= {name + "gate_proj.weight": gate, name + "up_proj.weight": up, name + "down_proj.weight": down}
        return {k: v.detach() for k, v in state.items()}
