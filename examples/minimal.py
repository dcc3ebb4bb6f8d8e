"""KITINet and KO in a plain PyTorch loop: handwritten digits, 8 x 8 pixels, on a CPU in seconds.

python examples/minimal.py        needs scikit-learn
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import kiti


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, width), nn.GELU())

    def forward(self, x):
        return x + self.branch(self.norm(x))


def accuracy(model, images, labels):
    with torch.no_grad():
        return (model.eval()(images).argmax(1) == labels).float().mean().item()


def main():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images))
    train, test = order[:1400], order[1400:]

    model = nn.Sequential(nn.Linear(64, 64), Block(64), Block(64), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    print(kiti.open_seam(model, branch="*.branch", shortcut="*.norm", residual=kiti.KITIResidual))
    print(kiti.calibrate(model, images[train[:256]], pairs=1))
    ko = kiti.KO(optimizer, kiti.matrices(model), mode="soft", coll_coef=0.005)

    for _ in range(10):
        model.train()
        for batch in torch.randperm(len(train)).split(64):
            loss = nn.functional.cross_entropy(model(images[train[batch]]), labels[train[batch]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()  # KO collides the gradients first

    print(kiti.statistics(model), ko, sep="\n")
    print(f"test accuracy {accuracy(model, images[test], labels[test]):.3f}, by chance 0.100")


if __name__ == "__main__":
    main()
