"""The models of Ballast in PyTorch, with the same arithmetic and names of parameters: for parity tests and speed comparisons.

B = batch, T = positions, C = width, H = heads, D = width of a head, V = vocabulary, Y and X = rows and columns, F = features.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_BTC, mask_TT):
        B, T, C = x_BTC.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in self.qkv(x_BTC).split(C, 2))
        if hasattr(F, "scaled_dot_product_attention"):
            y_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores_BHTT = (q @ k.transpose(-2, -1)) / math.sqrt(C // self.heads)
            y_BHTD = F.softmax(scores_BHTT.masked_fill(mask_TT[:T, :T], float("-inf")), -1) @ v
        return self.proj(y_BHTD.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc, self.fc_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTC):
        return self.fc_proj(F.gelu(self.fc(x_BTC), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = Attention(width, heads), FeedForward(width)

    def forward(self, x_BTC, mask_TT):
        x_BTC = x_BTC + self.attention(self.ln_1(x_BTC), mask_TT)
        return x_BTC + self.mlp(self.ln_2(x_BTC))


class Gpt(nn.Module):
    """GPT-2: learned positions, pre-norm, tied head. Mean cross-entropy over all positions."""

    def __init__(self, layers, heads, width, context, vocabulary):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        # Plain tensors: gloo cannot broadcast bool buffers.
        self.mask_TT = torch.triu(torch.ones(context, context, dtype=torch.bool), 1)
        self.range_T = torch.arange(context)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(self, x_BT, y_BT):
        x_BTC = self.wte(x_BT) + self.wpe(self.range_T[: x_BT.shape[1]])
        for block in self.blocks:
            x_BTC = block(x_BTC, self.mask_TT)
        logits_BTV = F.linear(self.ln_f(x_BTC), self.wte.weight)
        return F.cross_entropy(logits_BTV.float().flatten(0, 1), y_BT.flatten())


class Convolution(nn.Module):
    """Convolution without bias, then batch norm."""

    def __init__(self, before, after, kernel, stride):
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x_BCYX):
        return self.bn(self.conv(x_BCYX))


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.skip = None if stride == 1 and before == after else Convolution(before, after, 1, stride)

    def forward(self, x_BCYX):
        y_BCYX = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x_BCYX)))))
        return F.relu(y_BCYX + (x_BCYX if self.skip is None else self.skip(x_BCYX)))


class Stage(nn.Module):
    def __init__(self, before, after, depth, stride):
        super().__init__()
        self.blocks = nn.Sequential(*(Residual(before if i == 0 else after, after, stride if i == 0 else 1) for i in range(depth)))

    def forward(self, x_BCYX):
        return self.blocks(x_BCYX)


class Convnet(nn.Module):
    """ResNet for small images (He et al. 2016, section 4.2), projections where the shape changes. Mean cross-entropy."""

    def __init__(self, image_channels, channels, depth, classes):
        super().__init__()
        self.stem = Convolution(image_channels, channels[0], 3, 1)
        self.stages = nn.Sequential(*(Stage(channels[max(i - 1, 0)], channels[i], depth, 2 if i > 0 else 1) for i in range(3)))
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, x_BCYX, y_B):
        x_BCYX = self.stages(F.relu(self.stem(x_BCYX)))
        return F.cross_entropy(self.head(x_BCYX.mean((2, 3))).float(), y_B)


class Mlp(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        widths = [features, *hidden, classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x_BF, y_B):
        for layer in self.layers[:-1]:
            x_BF = F.relu(layer(x_BF))
        return F.cross_entropy(self.layers[-1](x_BF).float(), y_B)
