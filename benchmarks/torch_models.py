"""The three models of Ballast in PyTorch, with the same parameters and arithmetic: for parity tests and speed comparisons."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x_BTC, mask_TT):
        B, T, C = x_BTC.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in self.qkv(x_BTC).split(C, 2))
        if hasattr(F, "scaled_dot_product_attention"):
            y_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores_BHTT = (q @ k.transpose(-2, -1)) / math.sqrt(C // self.heads)
            y_BHTD = F.softmax(scores_BHTT.masked_fill(mask_TT[:T, :T], float("-inf")), -1) @ v
        return self.projection(y_BHTD.transpose(1, 2).reshape(B, T, C))

    def forward(self, x_BTC, mask_TT):
        x_BTC = x_BTC + self.attention(self.ln_1(x_BTC), mask_TT)
        return x_BTC + self.down(F.gelu(self.up(self.ln_2(x_BTC)), approximate="tanh"))


class Gpt(nn.Module):
    """GPT-2: learned positions, pre-norm, tied head. Mean cross-entropy over all positions."""

    def __init__(self, layers, heads, width, context, vocabulary):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        # Plain tensors: gloo cannot broadcast bool buffers.
        self.mask_TT = torch.triu(torch.ones(context, context, dtype=torch.bool), 1)
        self.range_T = torch.arange(context)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(self, x_BT, y_BT):
        x_BTC = self.tokens(x_BT) + self.positions(self.range_T[: x_BT.shape[1]])
        for block in self.blocks:
            x_BTC = block(x_BTC, self.mask_TT)
        logits_BTV = F.linear(self.ln_f(x_BTC), self.tokens.weight)
        return F.cross_entropy(logits_BTV.float().flatten(0, 1), y_BT.flatten())


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv_1, self.norm_1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv_2, self.norm_2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.skip = None
        if stride != 1 or before != after:
            self.skip = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x_BCYX):
        y_BCYX = self.norm_2(self.conv_2(F.relu(self.norm_1(self.conv_1(x_BCYX)))))
        return F.relu(y_BCYX + (x_BCYX if self.skip is None else self.skip(x_BCYX)))


class Convnet(nn.Module):
    """ResNet for small images (He et al. 2016, section 4.2), projections where the shape changes. Mean cross-entropy."""

    def __init__(self, image_channels, channels, depth, classes):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(image_channels, channels[0], 3, 1, 1, bias=False), nn.BatchNorm2d(channels[0])
        stages, before = [], channels[0]
        for stage, after in enumerate(channels):
            for block in range(depth):
                stages.append(Residual(before, after, 2 if stage > 0 and block == 0 else 1))
                before = after
        self.blocks, self.head = nn.Sequential(*stages), nn.Linear(before, classes)

    def forward(self, x_BCYX, y_B):
        x_BCYX = self.blocks(F.relu(self.norm(self.conv(x_BCYX))))
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
