"""States of the bidirectional model and of a policy, against single words and plain sums."""

from __future__ import annotations

import pytest
import torch

from rlhf_lab.errors import InputError
from rlhf_lab.models import load_policy
from rlhf_lab.paradigms.contextual import BiLM, BiLMConfig, elmo_mix, policy_layers, train_bilm
from rlhf_lab.paradigms.embeddings import words_of

TEXTS = [[2, 3, 4, 5], [4, 3], [5]]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BiLM(6, 4).double()


def test_loss_text_by_text(model):
    """Each direction alone, with LSTMs of one direction that hold the same weights."""
    on, back = (torch.nn.LSTM(4, 4, batch_first=True).double() for _ in range(2))
    own = model.lstm.state_dict()
    on.load_state_dict({k: v for k, v in own.items() if not k.endswith("_reverse")})
    back.load_state_dict({k[:-8]: v for k, v in own.items() if k.endswith("_reverse")})
    total, count = 0.0, 0
    for text in TEXTS:
        line = torch.tensor([0, *text, 0])
        for lstm, row in ((on, line), (back, line.flip(0))):
            logits = model.output(lstm(model.vectors(row)[None])[0][0])
            logp = logits.log_softmax(-1)[:-1].gather(1, row[1:, None])
            total -= logp.sum().item()
            count += len(row) - 1
    assert model.loss(TEXTS).item() == pytest.approx(total / count, rel=1e-12)


def test_a_state_sees_its_side_only(model):
    one, other = model.layers([[2, 3, 4], [2, 3, 5]])
    assert torch.equal(one[0, :2], other[0, :2])  # layer 0: the word alone
    assert torch.equal(one[1, :2, :4], other[1, :2, :4])  # reading on: what comes is unknown
    assert not torch.allclose(one[1, 1, 4:], other[1, 1, 4:])  # reading back: it has been read
    alone = model.layers([[2, 3, 4]])[0]
    assert torch.allclose(alone, one, atol=1e-12)  # padding changes nothing


def test_training_learns_both_directions():
    texts = [[2, 3, 4], [3, 5, 2]] * 30
    model = train_bilm(texts, 6, BiLMConfig(dimension=16, epochs=40, batch_size=10))
    assert model.loss(texts).item() < 0.5  # untrained: log 6 = 1.8; the choice of text: 0.17


def test_mix_by_hand():
    layers = torch.tensor([[[1.0, 0]], [[0, 4]]])
    found = elmo_mix(layers, torch.tensor([0.0, 1.0]).log(), torch.tensor(3.0))
    assert found.tolist() == [[0, 12]]
    even = elmo_mix(layers, torch.zeros(2), torch.tensor(2.0))
    assert even.tolist() == [[1, 4]]


def test_policy_states_word_by_word(fernwick_model):
    policy, tokenizer = load_policy(fernwick_model)
    text = "the fox eats 12 apples.\nwhy?"
    found = policy_layers(policy, tokenizer, text)
    cut = words_of(text)
    assert found.shape[1] == len(cut)
    # A causal model: the text up to the end of a word gives the state at that word.
    for head, place in (("the fox", 1), ("the fox eats 12", 3), ("the fox eats 12 apples", 4)):
        ids = torch.tensor([tokenizer(head)["input_ids"]])
        states = policy(input_ids=ids, output_hidden_states=True).hidden_states
        for layer, state in enumerate(states):
            assert torch.allclose(found[layer, place], state[0, -1], atol=1e-4)
    with pytest.raises(InputError, match="at least one word"):
        policy_layers(policy, tokenizer, " ")
