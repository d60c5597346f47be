"""What the GPU can do at most: a copy on it and a large bf16 matmul, by torch where it is there."""

import statistics


class Limits:
    """measure(): {"copy": GB/s, read and written, "matmul": TFLOP/s}; None without torch or a GPU for it."""

    def __init__(self):
        try:
            import torch
        except ImportError:
            torch = None
        self.torch = torch if torch and torch.cuda.is_available() else None
        self.taken = []  # every measurement

    def measure(self):
        if not self.torch:
            return None
        torch = self.torch
        source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copy = self._seconds(lambda: target.copy_(source))
        matrix = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
        product = self._seconds(lambda: matrix @ matrix)
        self.taken.append({"copy": 2 * (1 << 30) / copy / 1e9, "matmul": 2 * 8192**3 / product / 1e12})
        del source, target, matrix
        torch.cuda.empty_cache()  # the models need the memory
        return self.taken[-1]

    def _seconds(self, body):
        """Median of ten, after three."""
        times = []
        for _ in range(13):
            start, end = self.torch.cuda.Event(enable_timing=True), self.torch.cuda.Event(enable_timing=True)
            start.record()
            body()
            end.record()
            self.torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
        return statistics.median(times[3:])


def between(before, after):
    """The mean of two measurements, or None."""
    return {name: (before[name] + after[name]) / 2 for name in before} if before and after else None
